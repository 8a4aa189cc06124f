# xling with the CPU build of torch and the encoder that comes with a package: runs without a hub.
#   docker build -t xling . && docker run --rm -v "$PWD:/work" xling xling-train -m experiment=demo
# For GPUs start from an image that has torch 2.13.0 with CUDA, and leave out the line that installs torch.
FROM python:3.11-slim
WORKDIR /opt/xling
COPY constraints.txt ./
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt '.[offline]'
ENV XLING_CACHE=/work/.cache
WORKDIR /work
CMD ["xling-train", "--help"]
