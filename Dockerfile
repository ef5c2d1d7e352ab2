# A proxy in a container, out of the wheel that "make build" leaves in dist/. docs/container.rst says how it is used.
FROM debian:bookworm-slim AS wheel
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
COPY dist/*.whl /tmp/
# Nothing is compiled here: what has no wheel for this platform ends the build. pip itself is of no use afterwards.
# twistd leaves a list of its plugins, which user 6080 could not write.
RUN python3 -m venv /opt/wsproxy \
    && /opt/wsproxy/bin/pip install --no-cache-dir --only-binary :all: /tmp/*.whl \
    && /opt/wsproxy/bin/pip uninstall -y setuptools pip \
    && /opt/wsproxy/bin/twistd --help >/dev/null

FROM debian:bookworm-slim
# Debian's python3 is updated with Debian: no version is pinned. tini is process 1: it passes signals on, and reaps what
# a wrapped program leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 6080 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin wsproxy
COPY --from=wheel /opt/wsproxy /opt/wsproxy
ENV PATH=/opt/wsproxy/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
USER 6080:6080
WORKDIR /
EXPOSE 6080
# Any answer will do: 200 for the pages, 405 without, 401 with --web-auth, 400 where TLS is all that is spoken.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["python3", "-c", \
    "from http.client import HTTPConnection as H; c = H('127.0.0.1', 6080, timeout=4); c.request('GET', '/'); c.getresponse()"]
ENTRYPOINT ["tini", "--", "twistd", "-n", "--pidfile=", "websockify"]
CMD ["--target", "demo:"]
