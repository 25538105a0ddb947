// The tree as it is has no mistake, and each mistake that we can think of is found: it is made in a copy of
// the text, and the line that complains of it is looked for.
package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	dockerfile  = "deploy/Dockerfile"
	composeFile = "deploy/compose.yaml"
)

func treeTop(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if top, err = filepath.EvalSymlinks(top); err != nil {
		t.Fatal(err)
	}
	return top
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(treeTop(t), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A compose file is loaded from the folder it stands in, so a changed one stands beside the real one.
func composeMistakes(t *testing.T, text string) []string {
	t.Helper()
	file, err := os.CreateTemp(filepath.Join(treeTop(t), "deploy"), ".compose-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(file.Name()) })
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	project, err := loadCompose(file.Name())
	if err != nil {
		return []string{err.Error()}
	}
	return checkCompose(treeTop(t), project)
}

func TestTheTreeAsItIs(t *testing.T) {
	for file, mistakes := range map[string][]string{
		dockerfile:  checkDockerfile(treeTop(t), []byte(read(t, dockerfile))),
		composeFile: composeMistakes(t, read(t, composeFile)),
	} {
		for _, mistake := range mistakes {
			t.Errorf("%s: %s", file, mistake)
		}
	}
}

func TestMistakesAreFound(t *testing.T) {
	for _, seeded := range []struct{ name, file, old, new, complaint string }{
		{"no user", dockerfile, "USER 65532:65532\n", "", "runs as"},
		{"root", dockerfile, "USER 65532:65532\n", "USER 0:0\n", "runs as"},
		{"latest", dockerfile, "rust:1.95-bookworm", "rust:latest", "needs a tag"},
		{"no tag", dockerfile, "node:22-bookworm-slim", "node", "needs a tag"},
		{"a digest", dockerfile, "rust:1.95-bookworm", "rust@sha256:" + strings.Repeat("0", 64), "needs a tag"},
		{"a base that cannot be replaced", dockerfile, "FROM ${RUST_IMAGE} AS source", "FROM rust:1.95 AS source", "is no ARG"},
		{"a shell", dockerfile, "FROM scratch AS image", "FROM ${NODE_IMAGE} AS image", "not on scratch"},
		{"a command in the image", dockerfile, "COPY LICENSE /LICENSE\n", "COPY LICENSE /LICENSE\nRUN id\n", "has RUN"},
		{"an unknown instruction", dockerfile, "USER 65532", "USR 65532", "unknown instruction"},
		{"an unknown flag", dockerfile, "COPY --from=build /out/roomcast-gateway", "COPY --form=build /out/roomcast-gateway", "unknown flag"},
		{"a stage that does not exist", dockerfile, "COPY --from=listed", "COPY --from=lsted", "is no stage"},
		{"an undefined variable", dockerfile, "ARG TARGETARCH\n", "", "UndefinedVar"},
		{"a file that does not exist", dockerfile, "COPY LICENSE /", "COPY LICENCE /", "does not exist"},
		{"a file that is left out", dockerfile, "COPY LICENSE /", "COPY README.md /", ".dockerignore leaves out"},
		{"another place of the binary", dockerfile, "/out/roomcast-gateway /roomcast-gateway", "/out/roomcast-gateway /bin/roomcast-gateway", "has no /roomcast-gateway"},
		{"a health check by curl", dockerfile, `CMD ["/roomcast-gateway", "healthcheck"]`, "CMD curl localhost:9464", "asked for its health"},
		{"no health check", dockerfile, "HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s \\\n  CMD [\"/roomcast-presence\", \"healthcheck\"]\n", "", "asked for its health"},
		{"another port", dockerfile, "ROOMCAST_ADMIN=0.0.0.0:9465", "ROOMCAST_ADMIN=0.0.0.0:9466", "does not answer on one of its ports"},
		{"loopback", dockerfile, "ROOMCAST_LISTEN=0.0.0.0:3000", "ROOMCAST_LISTEN=127.0.0.1:3000", "does not answer on one of its ports"},
		{"a label that is fixed", dockerfile, `image.version="$VERSION"`, `image.version="1.0.0"`, "no label org.opencontainers.image.version"},

		{"an unknown key", composeFile, "stop_grace_period:", "stop_grace:", "stop_grace"},
		{"a network that does not exist", composeFile, "networks: [edge, chat]", "networks: [edge, chta]", "chta"},
		{"a service that cannot be reached", composeFile, "networks: [edge, chat]", "networks: [edge]", "shares no network"},
		{"a service that does not exist", composeFile, "GATEWAY_2: gateway-2:3000", "GATEWAY_2: gateway-4:3000", "no service gateway-4"},
		{"a port that nobody listens on", composeFile, "GATEWAY_1: gateway-1:3000", "GATEWAY_1: gateway-1:3010", "gateway-1 listens on"},
		{"a health port that nobody listens on", composeFile, `ADMIN_PORT_2: "9464"`, `ADMIN_PORT_2: "9465"`, "gateway-2 listens on"},
		{"open to the world", composeFile, "127.0.0.1:${PORT:-8080}:8080", "${PORT:-8080}:8080", "publishes 8080"},
		{"Redis published", composeFile, `expose: ["6379"]`, `ports: ["127.0.0.1:6379:6379"]`, "publishes 6379"},
		{"a root that can be written", composeFile, "read_only: true", "read_only: false", "read_only is missing"},
		{"capabilities", composeFile, "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "keeps capabilities"},
		{"new privileges", composeFile, `security_opt: ["no-new-privileges:true"]`, "security_opt: []", "may gain privileges"},
		{"root", composeFile, "user: 472:0", "user: 0:0", "runs as root"},
		{"another user than the image's", composeFile, "user: 65532:65532", "user: 1000:1000", "its image as"},
		{"another health check than the image's", composeFile, "[CMD, /roomcast-gateway, healthcheck]", "[CMD, /roomcast, health]", "asked for its health"},
		{"waiting for what has no health", composeFile, "prometheus: { condition: service_healthy }", "collector: { condition: service_healthy }", "which nobody asks for"},
		{"a file that does not exist", composeFile, "./otel:/etc", "./otle:/etc", "does not exist"},
		{"configuration that can be written", composeFile, "./haproxy:/etc/roomcast:ro", "./haproxy:/etc/roomcast", "can write to"},
		{"a volume that is not declared", composeFile, "\n  grafana: {}", "", "grafana"},
		{"a target that does not exist", composeFile, "target: presence", "target: directory", "directory"},
		{"a setting that does not exist", composeFile, "ROOMCAST_REDIS:", "ROOMCAST_REDSI:", "does not know"},
		{"latest", composeFile, "prom/prometheus:v3.5.0", "prom/prometheus:latest", "needs a tag"},
		{"no bound of memory", composeFile, "mem_limit: 128m", "mem_limit: 0", "has no bounds"},
	} {
		t.Run(filepath.Base(seeded.file)+"/"+seeded.name, func(t *testing.T) {
			before := read(t, seeded.file)
			after := strings.Replace(before, seeded.old, seeded.new, 1)
			if after == before {
				t.Fatalf("%s has no %q", seeded.file, seeded.old)
			}
			var found []string
			if seeded.file == dockerfile {
				found = checkDockerfile(treeTop(t), []byte(after))
			} else {
				found = composeMistakes(t, after)
			}
			if !strings.Contains(strings.Join(found, "\n"), seeded.complaint) {
				t.Errorf("nobody complained of %q; found: %q", seeded.complaint, found)
			}
		})
	}
}
