# From source, on a machine that can pull images:
#   podman build -t docker.io/library/kube-probesim:0.1.0 .
# From a binary that is already built, where no image can be pulled; it lies in dist/kube-probesim-amd64 (or -arm64):
#   podman build --target prebuilt --platform linux/amd64 -t docker.io/library/kube-probesim:0.1.0 .
# `docker build` takes the same arguments. docs/kubernetes.md has the rest.

# Compiles on the machine's own platform for the requested one, without emulation; for the C and assembly of TLS it installs the
# compiler of the other platform where that is not its own. The digest is that of the index of
# all platforms. To move it to another version, change the tag and take the digest that this prints:
#   podman run --rm quay.io/skopeo/stable inspect --format '{{.Digest}}' docker://docker.io/library/rust:1.95-slim-bookworm
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS compiled
ARG TARGETARCH
ARG REVISION=unknown
WORKDIR /src
# Older podman leaves TARGETARCH unset where no --platform is given.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY src src
COPY bench bench
RUN arch="${TARGETARCH:-$(uname -m)}" \
 && case "$arch" in \
      amd64 | x86_64) machine=x86_64 packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
      arm64 | aarch64) machine=aarch64 packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      *) echo "no target for $arch" >&2; exit 1 ;; \
    esac \
 && target="$machine-unknown-linux-musl" \
 && if ! command -v "$machine-linux-gnu-gcc"; then \
      apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; \
    fi \
 && rustup target add "$target" \
 && PROBESIM_REVISION="$REVISION" \
      cargo build --release --locked --target "$target" \
 && cp "target/$target/release/kube-probesim" /kube-probesim

# Everything but the binary.
FROM scratch AS image
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kube-probesim" \
      org.opencontainers.image.description="A probe and fault simulator for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/kube-probesim"]

FROM image AS prebuilt
ARG TARGETARCH
COPY dist/kube-probesim-${TARGETARCH} /kube-probesim

FROM image
COPY --from=compiled /kube-probesim /kube-probesim
