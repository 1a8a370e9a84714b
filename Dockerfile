# A server of commands, as a static binary that runs without privileges:
#
#	docker build -t wsep .
#	docker run -p 8080:8080 -v "$PWD/token:/token:ro" wsep
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /wsep ./cmd/wsep

# Commands need a shell and programs, so the image is not empty.
FROM alpine:3
RUN adduser -D -u 10001 wsep
COPY --from=build /wsep /usr/local/bin/wsep
USER 10001:10001
WORKDIR /home/wsep
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["wget", "-q", "-O", "-", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["wsep"]
CMD ["serve", "--listen", ":8080", "--token-file", "/token", "--drain", "8s"]
