# One broker for `make cluster`, where Strimzi's own images cannot be had. The context is .cache/kafka of a checkout.
ARG BASE
FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY libs /opt/kafka
USER 10001:10001
