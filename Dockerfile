# xling with the encoder that comes with a package: runs without a hub.
#   docker build -t xling . && docker run --rm -v "$PWD:/study" xling xling-train -m experiment=demo
# Which build of torch it gets, pip decides; for another one install torch==2.13.0 in a RUN of its own before xling.
FROM python:3.11-slim
WORKDIR /opt/xling
COPY constraints.txt ./
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[offline]'
ENV XLING_CACHE=/study/.cache
WORKDIR /study
CMD ["xling-train", "--help"]
