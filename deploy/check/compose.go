// What deploy/compose.yaml starts, as Compose itself loads it, and what we ask of it and of the files it
// mounts. Called by main.go and the tests; no engine is needed.
package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

// Published to this machine alone; everything else is reached by other services only.
var published = map[string]bool{"balancer": true, "grafana": true, "prometheus": true}

// Images without any program that could ask: nobody waits for their health.
var silent = map[string]bool{"collector": true}

func loadCompose(file string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{file},
		cli.WithEnv([]string{"ROOMCAST_PEER_SECRET=" + strings.Repeat("s", 64)}),
		cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

func checkCompose(top string, project *types.Project) []string {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		for _, mistake := range checkService(top, project, project.Services[name]) {
			wrong = append(wrong, fmt.Sprintf("service %s %s", name, mistake))
		}
	}
	for _, name := range []string{"gateway-1", "gateway-2", "presence", "redis", "balancer", "prometheus", "grafana", "collector"} {
		if _, ok := project.Services[name]; !ok {
			wrong = append(wrong, "no service "+name)
		}
	}
	return append(wrong, checkAddresses(top, project)...)
}

func checkService(top string, project *types.Project, service types.ServiceConfig) []string {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	// As in Kubernetes: nobody's process on a root that it cannot write, without a capability.
	if user, _, _ := strings.Cut(service.User, ":"); user == "" || user == "0" || user == "root" {
		add("runs as root or as whoever its image says: user %q", service.User)
	}
	if !service.ReadOnly {
		add("can write to its root: read_only is missing")
	}
	if !slices.Equal(service.CapDrop, []string{"ALL"}) || len(service.CapAdd) > 0 || service.Privileged {
		add("keeps capabilities: cap_drop [ALL], no cap_add, not privileged")
	}
	if !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
		add("may gain privileges: security_opt no-new-privileges:true is missing")
	}
	if service.MemLimit == 0 || service.PidsLimit == 0 {
		add("has no bounds: mem_limit, pids_limit")
	}
	if service.NetworkMode != "" || service.Pid != "" || service.Ipc != "" {
		add("shares a namespace with the host")
	}
	if service.HealthCheck == nil && !silent[service.Name] {
		add("has no healthcheck")
	}
	if service.Build == nil && (!tagged.MatchString(service.Image) || strings.HasSuffix(service.Image, ":latest")) {
		add("has the image %q, which needs a tag that says a version", service.Image)
	}

	for _, port := range service.Ports {
		if !published[service.Name] || port.HostIP != "127.0.0.1" {
			add("publishes %s on %q", port.Published, port.HostIP)
		}
	}
	if published[service.Name] && len(service.Ports) == 0 {
		add("is not published")
	}
	for name, other := range service.DependsOn {
		needs := project.Services[name]
		if other.Condition == types.ServiceConditionHealthy && needs.HealthCheck == nil {
			add("waits for the health of %s, which nobody asks for", name)
		}
	}
	for _, volume := range service.Volumes {
		switch volume.Type {
		case types.VolumeTypeBind:
			if _, err := os.Stat(volume.Source); err != nil {
				add("mounts %s, which does not exist", volume.Source)
			}
			if inside, err := filepath.Rel(filepath.Join(top, "deploy"), volume.Source); err != nil || strings.HasPrefix(inside, "..") {
				add("mounts %s from outside deploy/", volume.Source)
			}
			if !volume.ReadOnly {
				add("can write to %s", volume.Source)
			}
		case types.VolumeTypeVolume:
			if _, ok := project.Volumes[volume.Source]; !ok {
				add("mounts the volume %q, which is not declared", volume.Source)
			}
		}
	}
	if service.Build != nil {
		wrong = append(wrong, checkBuild(top, service)...)
	}
	return wrong
}

// Ours: built by the one Dockerfile, given no setting that the binary does not have.
func checkBuild(top string, service types.ServiceConfig) []string {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if context, err := filepath.EvalSymlinks(service.Build.Context); err != nil || context != top {
		add("is built from %s, not from the repository", service.Build.Context)
	}
	text, err := os.ReadFile(filepath.Join(service.Build.Context, service.Build.Dockerfile))
	if err != nil {
		return append(wrong, err.Error())
	}
	image, err := readImage(text, service.Build.Target, nil)
	if err != nil {
		return append(wrong, err.Error())
	}
	if service.User != image.User {
		add("runs as %s, its image as %s", service.User, image.User)
	}
	if probe := service.HealthCheck; probe == nil || !slices.Equal(probe.Test, image.Healthcheck) {
		add("is asked for its health in another way than its image: %q", image.Healthcheck)
	}
	known, err := settings(top, "roomcast-"+service.Build.Target)
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(service.Environment)) {
		if strings.HasPrefix(name, "ROOMCAST_") && !known[name] {
			add("sets %s, which docs/CONFIGURATION.md does not know", name)
		}
	}
	return wrong
}

var variable = regexp.MustCompile("`(ROOMCAST_[A-Z_]+)`")

// The variables of a binary, from the page that is generated from its flags.
func settings(top, binary string) (map[string]bool, error) {
	page, err := os.ReadFile(filepath.Join(top, "docs/CONFIGURATION.md"))
	if err != nil {
		return nil, err
	}
	_, section, found := strings.Cut(string(page), "\n## "+binary+"\n")
	if !found {
		return nil, fmt.Errorf("docs/CONFIGURATION.md has no section %s", binary)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	known := map[string]bool{}
	for _, name := range variable.FindAllStringSubmatch(section, -1) {
		known[name[1]] = true
	}
	return known, nil
}

// Every address of another service in the settings of one leads somewhere: a name that exists, on a network that
// both are on, at a port that is listened on.
func checkAddresses(top string, project *types.Project) []string {
	var wrong []string
	known := map[string][]string{} // service: addresses
	for name, service := range project.Services {
		for _, value := range service.Environment {
			if value != nil {
				known[name] = append(known[name], *value)
			}
		}
	}
	for file, service := range map[string]string{
		"deploy/prometheus/compose.yml":                           "prometheus",
		"deploy/grafana/provisioning/datasources/prometheus.yaml": "grafana",
		"deploy/grafana/provisioning/dashboards/roomcast.yaml":    "grafana",
		"deploy/otel/collector.yaml":                              "collector",
	} {
		values, err := scalars(filepath.Join(top, file))
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		known[service] = append(known[service], values...)
	}
	// The health check's port is a setting of its own.
	if balancer, ok := project.Services["balancer"]; ok {
		for _, n := range []string{"1", "2", "3"} {
			address, port := balancer.Environment["GATEWAY_"+n], balancer.Environment["ADMIN_PORT_"+n]
			if address != nil && port != nil && *address != "" {
				host, _, _ := strings.Cut(*address, ":")
				known["balancer"] = append(known["balancer"], host+":"+*port)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		for _, address := range known[name] {
			host, port, ok := endpoint(address)
			if !ok {
				continue
			}
			other, exists := project.Services[host]
			switch {
			case !exists:
				wrong = append(wrong, fmt.Sprintf("service %s is given %s, and there is no service %s", name, address, host))
			case name != host && !meet(project.Services[name], other):
				wrong = append(wrong, fmt.Sprintf("service %s is given %s, but shares no network with %s", name, address, host))
			case !slices.Contains(listening(other), port):
				wrong = append(wrong, fmt.Sprintf("service %s is given %s, but %s listens on %q", name, address, host, listening(other)))
			}
		}
	}
	return wrong
}

func meet(one, other types.ServiceConfig) bool {
	for network := range one.Networks {
		if _, ok := other.Networks[network]; ok {
			return true
		}
	}
	return false
}

// Ours by their settings and images, the others by `expose`.
func listening(service types.ServiceConfig) []string {
	ports := slices.Clone([]string(service.Expose))
	for name, value := range service.Environment {
		if value != nil && (name == "ROOMCAST_LISTEN" || name == "ROOMCAST_ADMIN" || name == "ROOMCAST_PEER_LISTEN") {
			_, port, _ := strings.Cut(*value, ":")
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return ports
}

var hostPort = regexp.MustCompile(`^([a-z][a-z0-9-]*):(\d+)$`)

// endpoint is the host and port of HOST:PORT or of a URL, unless it is this container's own or not an address.
func endpoint(text string) (host, port string, ok bool) {
	if parts := hostPort.FindStringSubmatch(text); parts != nil {
		host, port = parts[1], parts[2]
	} else if parsed, err := url.Parse(text); err == nil && parsed.Port() != "" && parsed.Scheme != "" && strings.Contains(text, "://") {
		host, port = parsed.Hostname(), parsed.Port()
	}
	return host, port, host != "" && host != "localhost" && net.ParseIP(host) == nil
}

// scalars are all values of a YAML file; one that repeats a key or is no YAML is a mistake.
func scalars(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := node.Decode(&map[string]any{}); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var values []string
	var walk func(*yaml.Node)
	walk = func(node *yaml.Node) {
		if node.Kind == yaml.ScalarNode {
			values = append(values, node.Value)
		}
		for _, child := range node.Content {
			walk(child)
		}
	}
	walk(&node)
	return values, nil
}
