# From source, on a host that can pull images:
#   docker buildx build --platform linux/amd64,linux/arm64 -t kube-probesim .
# From binaries that are already built, where no image can be pulled:
#   podman build --build-arg BINARY=prebuilt --platform linux/amd64 -t kube-probesim .
# with dist/kube-probesim-amd64 (or -arm64) in place.
ARG BINARY=source

# Compiles on the machine's own platform for the one asked for: no emulation, no C compiler.
FROM --platform=$BUILDPLATFORM rust:1-slim AS source
ARG TARGETARCH
ARG REVISION=unknown
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY bench bench
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no target for $TARGETARCH" >&2; exit 1 ;; \
    esac \
 && rustup target add "$target" \
 && PROBESIM_REVISION="$REVISION" \
      cargo build --release --locked --target "$target" \
 && cp "target/$target/release/kube-probesim" /kube-probesim

FROM scratch AS prebuilt
ARG TARGETARCH
COPY dist/kube-probesim-${TARGETARCH} /kube-probesim

FROM ${BINARY} AS binary

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kube-probesim" \
      org.opencontainers.image.description="A probe and fault simulator for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=binary /kube-probesim /kube-probesim
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/kube-probesim"]
