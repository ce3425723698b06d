# The vehicle's software on a Jetson or another ARM computer (no ROS 2 wheels there: ROS 2 comes from the base image).
# The default base runs the model on the CPU. For TensorRT give a base that holds ROS 2 and the TensorRT of your JetPack:
#   docker build -f docker/jetson.Dockerfile -t videocups:jetson --build-arg BASE=... --build-arg OPT_ROS=/opt/ros .
#   docker run --rm -it --runtime=nvidia --net=host --ipc=host videocups:jetson
ARG BASE=ros:jazzy-perception
# hadolint ignore=DL3006
FROM ${BASE}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ python3-dev python3-numpy python3-opencv python3-scipy python3-venv python3-yaml \
    && rm -rf /var/lib/apt/lists/*

# where the base keeps ROS 2: a folder that holds one folder a distribution, with its setup.bash
ARG OPT_ROS=/opt/ros
ENV VIDEOCUPS_OPT_ROS=${OPT_ROS}

WORKDIR /videocups
COPY . .
RUN . "${OPT_ROS}/${ROS_DISTRO:-jazzy}/setup.bash" && ./setup.sh --no-training

ENTRYPOINT ["/bin/bash", "-c", "source env.sh && exec \"$@\"", "--"]
CMD ["bash"]
