# A Debian host with systemd and the agent, to look at in a demonstration; real machines get the executable and no container.
#   deploy/images/base.sh vigo-debian:demo && node deploy/sea/build.ts
#   docker build -f deploy/docker/agent.Dockerfile --build-arg BASE=vigo-debian:demo -t vigo-agent .
ARG BASE=vigo-debian:demo
FROM ${BASE}
COPY .vigo/build/vigo /usr/local/sbin/vigo
COPY deploy/docker/enroll.service /etc/systemd/system/vigo-enroll.service
COPY deploy/docker/enroll.sh /usr/local/sbin/vigo-enroll
RUN systemctl enable -q vigo-enroll.service
STOPSIGNAL SIGRTMIN+3
CMD ["/lib/systemd/systemd"]
