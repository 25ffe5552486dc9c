# syntax=docker/dockerfile:1
# The gateway in an image of its own: the program, what it is linked to, and certificate authorities for backends.
#
#   docker build --tag sluicegate .
#   docker run --rm --publish 8080:8080 --volume "$PWD/config:/etc/sluicegate:ro" sluicegate

# The full image, since jemalloc wants make.
FROM rust:1.95.0-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# Cargo wants the sources of every target that Cargo.toml names, also of those it doesn't build.
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin sluicegate && install -D target/release/sluicegate /out/sluicegate

# What the program is linked to (glibc, libgcc) is in every Debian; certificate authorities for backends come with it.
FROM debian:trixie-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sluicegate /usr/local/bin/sluicegate
# 127.0.0.1 can't be reached from outside a container.
ENV SLUICEGATE_LISTEN=0.0.0.0:8080
EXPOSE 8080
WORKDIR /etc/sluicegate
USER 65532:65532
# The program is process 1 and takes signals itself: SIGTERM, which `docker stop` sends, lets open streams finish.
# Give it the time they need: `docker stop --time`, or terminationGracePeriodSeconds.
ENTRYPOINT ["/usr/local/bin/sluicegate"]
CMD ["serve", "/etc/sluicegate/sluicegate.yaml"]
