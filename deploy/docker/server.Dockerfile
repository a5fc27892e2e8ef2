# A server of any role, from its sources. `npm run images` builds it; by hand, from the top folder of the repository:
#   npm sbom --omit=dev --sbom-format=cyclonedx > .vigo/build/sbom.cdx.json
#   docker build -f deploy/docker/server.Dockerfile -t vigo-server .
# Where no registry is reached, --build-arg BASE names an image made by deploy/images/base.sh.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS runtime
RUN if ! ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1; then \
      apt-get update -q && apt-get install -y -q --no-install-recommends libatomic1 ca-certificates && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --system --home-dir /srv/vigo --no-create-home --shell /usr/sbin/nologin vigo \
  && install -d -o vigo -g vigo -m 0750 /srv/vigo \
  && install -d -o vigo -g vigo -m 0755 /tokens

FROM runtime AS build
WORKDIR /build
COPY . .
RUN node_modules/.bin/node deploy/docker/production.ts /out \
  && mkdir -p /out/bin-path && for program in vigosrv vigocli; do \
      printf '#!/bin/sh\nexec /opt/vigo/node/bin/node --disable-warning=ExperimentalWarning /opt/vigo/bin/%s.ts "$@"\n' "$program" > /out/bin-path/"$program" \
        && chmod 0755 /out/bin-path/"$program"; \
    done \
  && install -D -m 0755 "$(readlink -f node_modules/.bin/node)" /out/node/bin/node \
  && rm -rf /out/node_modules/node-linux-* /out/node_modules/node-bin-* \
  && cp .vigo/build/sbom.cdx.json /out/sbom.cdx.json

FROM runtime
COPY --from=build --chown=root:root /out /opt/vigo
RUN mv /opt/vigo/bin-path/* /usr/local/bin/ && rmdir /opt/vigo/bin-path
USER vigo
VOLUME /srv/vigo
EXPOSE 1530 8443
STOPSIGNAL SIGTERM
LABEL org.opencontainers.image.title="vigosrv" org.opencontainers.image.licenses="Apache-2.0"
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["/opt/vigo/deploy/docker/healthy.sh"]
ENTRYPOINT ["/opt/vigo/deploy/docker/serve.sh"]
