# syntax=docker/dockerfile:1
# The gateway in an image of its own: the program, the libraries it is linked to, certificate authorities for backends,
# and nothing else, not even a shell.
#
#   docker build --tag sluicegate .
#   docker run --rm --read-only --publish 8080:8080 --volume "$PWD/config:/etc/sluicegate:ro" sluicegate
#   docker run --rm --publish 8080:8080 sluicegate demo
#
# docs/operations.md says how to run it.

# The full image, since jemalloc wants make.
FROM rust:1.95.0-trixie AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
# What .dockerignore lets through: the manifest, its lock, and the sources of every target that the manifest names.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin sluicegate && \
    install --strip -D target/release/sluicegate /out/usr/local/bin/sluicegate
# The root of the image: glibc and libgcc as ldd finds them, name resolution, certificate authorities, one user.
RUN ldd /out/usr/local/bin/sluicegate | grep -o '/[^ ]*' | xargs -I{} install -D {} /out{} && \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt && \
    echo 'hosts: files dns' > /out/etc/nsswitch.conf && \
    echo 'sluicegate:x:65532:65532::/:/sbin/nologin' > /out/etc/passwd && \
    echo 'sluicegate:x:65532:' > /out/etc/group && \
    install -d /out/etc/sluicegate && \
    install -d -m 1777 /out/tmp

FROM scratch
LABEL org.opencontainers.image.title="sluicegate" \
      org.opencontainers.image.description="A streaming API gateway for the OpenAPI documents of Amazon API Gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out /
# Takes the place of the first listener's address: 127.0.0.1, the default, can't be reached from outside a container.
ENV SLUICEGATE_LISTEN=0.0.0.0:8080
# The admin address of a configuration without `admin`, and what HEALTHCHECK asks. A configuration may have another
# address under `admin`; tell it here, too, then.
ENV SLUICEGATE_ADMIN=127.0.0.1:9901
EXPOSE 8080
WORKDIR /etc/sluicegate
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/sluicegate", "health"]
# The program is process 1 and takes signals itself: SIGTERM, which `docker stop` sends, lets open streams finish.
# Give it the time they need: `docker stop --time`, `stop_grace_period`, or terminationGracePeriodSeconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sluicegate"]
CMD ["serve", "/etc/sluicegate/sluicegate.yaml"]
