# The gateway in a container. State and configuration come from outside:
#   docker run -v imps-state:/var/lib/imps-gateway -v ./gateway.toml:/etc/imps-gateway/gateway.toml:ro imps-gateway
FROM python:3.11-slim
RUN useradd --system --home-dir /var/lib/imps-gateway --create-home imps-gateway
COPY . /opt/imps-gateway
RUN python -m venv /opt/imps-gateway/.venv \
    && /opt/imps-gateway/.venv/bin/pip install --no-cache-dir \
       --constraint /opt/imps-gateway/constraints.txt /opt/imps-gateway \
    && /opt/imps-gateway/.venv/bin/twistd --help >/dev/null
USER imps-gateway
VOLUME /var/lib/imps-gateway
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/imps-gateway/.venv/bin/twistd", "-n", "--pidfile=", "imps-gateway"]
CMD ["--config", "/etc/imps-gateway/gateway.toml"]
