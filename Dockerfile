# NeuraLib in a container: `docker build --target cpu .` or `--target cuda .`
# Neither target carries a GPU driver: the CUDA libraries come with torch's own wheel.

FROM node:22.21-bookworm-slim AS page
WORKDIR /app/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY web ./
RUN npx vite build

FROM python:3.11.15-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY scripts/constraints.txt scripts/constraints.txt
COPY src src
COPY --from=page /app/src/neuralib/page src/neuralib/page
COPY configs configs

# torch's default wheel for Linux is the CUDA build. Give TORCH_INDEX the address of PyTorch's CPU wheels and the image
# is a tenth of the size; without it the CPU target works all the same.
FROM base AS install-cpu
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
 && pip install --constraint scripts/constraints.txt ".[offline]" \
 && pip install --no-deps basic-pitch==0.4.0

FROM base AS install-cuda
RUN pip install --constraint scripts/constraints.txt ".[offline]" \
 && pip install --no-deps basic-pitch==0.4.0

FROM install-cpu AS cpu
RUN useradd --create-home --uid 10001 neuralib \
 && install -d -o neuralib -g neuralib /home/neuralib/.cache /scratch
USER neuralib
EXPOSE 8080
ENTRYPOINT ["python", "-m", "neuralib"]
CMD ["serve"]

FROM install-cuda AS cuda
RUN useradd --create-home --uid 10001 neuralib \
 && install -d -o neuralib -g neuralib /home/neuralib/.cache /scratch
USER neuralib
EXPOSE 8080
ENTRYPOINT ["python", "-m", "neuralib"]
CMD ["serve"]
