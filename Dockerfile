# The image of a node: one binary on Debian, run by an unprivileged user.
#
#   docker build -t tenure .
#   docker run --rm -e DATABASE_URL tenure migrate
#   docker run -p 7080:7080 -e DATABASE_URL -e TENURE_NODE=node-1 tenure

FROM rust:1-bookworm AS build
WORKDIR /build
# Statements are checked against the descriptions in .sqlx: no database is needed here.
ENV SQLX_OFFLINE=true
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --bin tenure \
    && install -D target/release/tenure /out/tenure

FROM debian:bookworm-slim
# The authorities that sslmode=verify-full trusts.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tenure
COPY --from=build /out/tenure /usr/local/bin/tenure
USER 10001:10001
ENV TENURE_LISTEN=0.0.0.0:7080
EXPOSE 7080
# Liveness, not readiness: a node without its PostgreSQL should wait for it, not be restarted. The shell's own /dev/tcp asks,
# so that the image needs no HTTP client. A node on another port wants a health check of its own.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/7080 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]
# The node finishes what is in flight; a second signal stops it at once.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tenure"]
CMD ["serve"]
