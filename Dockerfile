# The program and nothing else; image.sh builds what is copied here, and calls the build.
FROM scratch
# /milena, and /data empty: a volume mounted there takes over its owner.
COPY --chown=65532:65532 target/image/files/milena/ /
USER 65532:65532
WORKDIR /data
VOLUME /data
# Kafka clients; metrics and health
EXPOSE 9092 9404
ENTRYPOINT ["/milena"]
CMD ["serve", "--data", "/data"]
