# The server in a small image, built from source. Building takes half an hour: gRPC, OpenSSL and RocksDB are compiled, too.
#
#   docker build --tag milvus-cdc .
#   docker run --publish 127.0.0.1:8444:8444 --env MILVUS_CDC_API_TOKEN=… \
#     --volume ./cdc.yaml:/etc/milvus-cdc/cdc.yaml:ro --volume milvus-cdc-data:/var/lib/milvus-cdc \
#     --volume /var/lib/milvus/rdb_data:/source/rdb_data:ro milvus-cdc
#
# In a container the API must listen beyond the local host, which needs a token: address: 0.0.0.0:8444, and dataDir: /var/lib/milvus-cdc.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake clang libclang-dev perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --profile dist --locked --bin milvus-cdc \
    && install -D --strip target/dist/milvus-cdc /out/milvus-cdc

FROM debian:bookworm-slim
# For targets and sources with certificates of a public authority.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin milvus-cdc \
    && install --directory --owner=milvus-cdc --group=milvus-cdc --mode=0700 /var/lib/milvus-cdc \
    && install --directory /etc/milvus-cdc
COPY --from=build /out/milvus-cdc /usr/local/bin/milvus-cdc
USER 10001
WORKDIR /var/lib/milvus-cdc
VOLUME /var/lib/milvus-cdc
EXPOSE 8444
# It ends within 10 s after SIGTERM by itself.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["milvus-cdc", "health"]
ENTRYPOINT ["milvus-cdc"]
CMD ["--config", "/etc/milvus-cdc/cdc.yaml"]
