# The server from its sources and the packages installed beside them (npm ci). Build from the top folder of the repository:
#   docker build -f deploy/docker/server.Dockerfile -t vigo-server .
# Where no registry is reached, --build-arg BASE names an image made by deploy/images/base.sh.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update -q && apt-get install -y -q --no-install-recommends libatomic1 ca-certificates 
RUN useradd --system --home-dir /srv/vigo --no-create-home --shell /usr/sbin/nologin vigo \
  && install -d -o vigo -g vigo -m 0750 /srv/vigo \
  && install -d -o vigo -g vigo -m 0700 /tokens
WORKDIR /opt/vigo
COPY package.json package-lock.json ./
COPY node_modules ./node_modules
COPY core ./core
COPY proto ./proto
COPY server ./server
COPY replication ./replication
COPY hub ./hub
COPY spoke ./spoke
COPY cli ./cli
COPY bin ./bin
COPY deploy ./deploy
RUN for program in vigosrv vigocli; do \
      printf '#!/bin/sh\nexec /opt/vigo/node_modules/.bin/node --disable-warning=ExperimentalWarning /opt/vigo/bin/%s.ts "$@"\n' "$program" \
        > /usr/local/bin/"$program" && chmod 0755 /usr/local/bin/"$program"; \
    done
USER vigo
VOLUME /srv/vigo
EXPOSE 1530 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/opt/vigo/deploy/docker/healthy.sh"]
ENTRYPOINT ["/opt/vigo/deploy/docker/serve.sh"]
