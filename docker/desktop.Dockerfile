# The vehicle's software on a desktop: ROS 2 Jazzy with RViz from its packages, our workspace on top.
#   docker build -f docker/desktop.Dockerfile -t videocups:desktop .
#   docker run --rm -it --net=host --ipc=host videocups:desktop
FROM osrf/ros:jazzy-desktop

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ python3-dev python3-numpy python3-opencv python3-scipy python3-venv python3-yaml \
        ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /videocups
COPY . .
RUN . /opt/ros/jazzy/setup.bash && ./setup.sh --no-training

ENTRYPOINT ["/bin/bash", "-c", "source env.sh && exec \"$@\"", "--"]
CMD ["bash"]
