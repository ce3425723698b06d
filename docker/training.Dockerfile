# The offline half on a machine with a GPU; torch brings its own CUDA libraries, the host its driver.
#   docker build -f docker/training.Dockerfile -t videocups:training .
#   docker run --rm -it --gpus all --ipc=host -v "$PWD/recordings:/recordings" videocups:training videocups --help
FROM python:3.11-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /videocups
COPY . .
RUN ./setup.sh --distro none

ENV PATH=/videocups/.venv-training/bin:$PATH
CMD ["videocups", "--help"]
