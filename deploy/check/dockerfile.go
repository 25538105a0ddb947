// What deploy/Dockerfile makes, as BuildKit itself understands it, and what we ask of it. Called by main.go
// and the tests; nothing is built and nothing is fetched.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
)

// The images that run, and beside them the one that only carries files.
var runnable = []string{"gateway", "presence"}

const nobody = "65532:65532"

// Copied is one file or folder of an image: From is the stage it comes from, or empty for the repository.
type Copied struct {
	From   string `json:"from"`
	Source string `json:"source"`
	Target string `json:"target"`
}

// Image is what a container of a target would be given.
type Image struct {
	Files       []Copied          `json:"files"`
	User        string            `json:"user"`
	Entrypoint  []string          `json:"entrypoint"`
	Env         map[string]string `json:"env"`
	Healthcheck []string          `json:"healthcheck"`
	Ports       []string          `json:"ports"`
	Labels      map[string]string `json:"labels"`
}

// Bases are taken for empty, so that nothing has to be fetched: what matters here is what we add.
type emptyBases struct{}

func (emptyBases) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, digest.FromString(ref), []byte(`{"os":"linux","architecture":"amd64","config":{}}`), nil
}

func options(target string, args map[string]string) dockerfile2llb.ConvertOpt {
	return dockerfile2llb.ConvertOpt{
		Config:       dockerui.Config{Target: target, BuildArgs: args},
		MetaResolver: emptyBases{},
	}
}

// readImage is the target's image by BuildKit's own conversion, and its files by the stages it stands on.
func readImage(text []byte, target string, args map[string]string) (*Image, error) {
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), text, options(target, args))
	if err != nil {
		return nil, err
	}
	config := result.Image.Config
	image := &Image{User: config.User, Entrypoint: config.Entrypoint, Env: map[string]string{}, Labels: config.Labels}
	if config.Healthcheck != nil {
		image.Healthcheck = config.Healthcheck.Test
	}
	for _, pair := range config.Env {
		name, value, _ := strings.Cut(pair, "=")
		image.Env[name] = value
	}
	for port := range config.ExposedPorts {
		image.Ports = append(image.Ports, strings.TrimSuffix(port, "/tcp"))
	}
	slices.Sort(image.Ports)
	stages, _, err := readStages(text)
	if err != nil {
		return nil, err
	}
	for _, stage := range lineage(stages, target) {
		for _, command := range stage.Commands {
			if copied, ok := command.(*instructions.CopyCommand); ok {
				image.Files = append(image.Files, placed(copied)...)
			}
		}
	}
	return image, nil
}

func placed(command *instructions.CopyCommand) []Copied {
	var files []Copied
	for _, source := range command.SourcePaths {
		target := command.DestPath
		if strings.HasSuffix(target, "/") && !strings.HasSuffix(source, "/") {
			target = path.Join(target, path.Base(source))
		}
		files = append(files, Copied{From: command.From, Source: source, Target: target})
	}
	return files
}

func readStages(text []byte) ([]instructions.Stage, []instructions.ArgCommand, error) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	return instructions.Parse(parsed.AST, linter.New(&linter.Config{}))
}

// lineage is the target and the stages it stands on, the lowest first.
func lineage(stages []instructions.Stage, target string) []instructions.Stage {
	for _, stage := range stages {
		if strings.EqualFold(stage.Name, target) {
			return append(lineage(stages, stage.BaseName), stage)
		}
	}
	return nil
}

var tagged = regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// What BuildKit's linter finds, and what we ask beyond it; each mistake in a line.
func checkDockerfile(top string, text []byte) []string {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	lint := options("", nil)
	lint.AllStages = true
	lint.Warn = func(rule, _, _, message string, _ []parser.Range) {
		add("%s: %s", rule, message)
	}
	if _, err := dockerfile2llb.Dockerfile2LLB(context.Background(), text, lint); err != nil {
		add("BuildKit refuses it: %s", err)
	}
	stages, args, err := readStages(text)
	if err != nil {
		return append(wrong, err.Error())
	}

	// Bases: our own stages, nothing at all, or a tag that stands in an ARG of its own.
	bases := map[string]string{}
	for _, arg := range args {
		for _, pair := range arg.Args {
			bases["${"+pair.Key+"}"] = pair.ValueString()
		}
	}
	for _, stage := range stages {
		if stage.BaseName == "scratch" || lineage(stages, stage.BaseName) != nil {
			continue
		}
		image, ok := bases[stage.BaseName]
		switch {
		case !ok:
			add("stage %s: its base %s is no ARG above the first stage", stage.Name, stage.BaseName)
		case !tagged.MatchString(image) || strings.HasSuffix(image, ":latest"):
			add("stage %s: its base %q needs a tag that says a version, and no digest", stage.Name, image)
		}
	}

	ignored, err := ignoredIn(top)
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, stage := range stages {
		for _, command := range stage.Commands {
			copied, ok := command.(*instructions.CopyCommand)
			if !ok {
				continue
			}
			if copied.From != "" {
				// BuildKit takes a name that no stage has for an image to fetch.
				if lineage(stages, copied.From) == nil {
					add("stage %s copies from %s, which is no stage", stage.Name, copied.From)
				}
				continue
			}
			for _, source := range copied.SourcePaths {
				if _, err := os.Stat(filepath.Join(top, source)); err != nil {
					add("stage %s copies %s, which does not exist", stage.Name, source)
				} else if out, err := ignored.MatchesOrParentMatches(source); err != nil || out {
					add("stage %s copies %s, which .dockerignore leaves out", stage.Name, source)
				}
			}
		}
	}

	if files := lineage(stages, "sbom"); files == nil {
		add("no target sbom")
	}
	for _, target := range runnable {
		for _, mistake := range checkImage(text, stages, target) {
			add("target %s %s", target, mistake)
		}
	}
	return wrong
}

func ignoredIn(top string) (*patternmatcher.PatternMatcher, error) {
	file, err := os.Open(filepath.Join(top, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return nil, err
	}
	return patternmatcher.New(patterns)
}

// An image that runs: nothing but copied files, nobody's, ready to be asked for its health.
func checkImage(text []byte, stages []instructions.Stage, target string) []string {
	own := lineage(stages, target)
	if own == nil {
		return []string{"does not exist"}
	}
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if own[0].BaseName != "scratch" {
		add("stands on %s, not on scratch", own[0].BaseName)
	}
	for _, stage := range own {
		for _, command := range stage.Commands {
			if name := command.Name(); strings.EqualFold(name, "run") || strings.EqualFold(name, "add") {
				add("has %s: there is no shell in it, and what it holds is copied", name)
			}
		}
	}

	given := map[string]string{"VERSION": "1.2.3", "REVISION": "abc", "CREATED": "2026-01-01T00:00:00Z"}
	image, err := readImage(text, target, given)
	if err != nil {
		return append(wrong, err.Error())
	}
	if image.User != nobody {
		add("runs as %q, not as %s", image.User, nobody)
	}
	for name, value := range given {
		label := "org.opencontainers.image." + strings.ToLower(name)
		if image.Labels[label] != value {
			add("has no label %s from --build-arg %s", label, name)
		}
	}
	if title := image.Labels["org.opencontainers.image.title"]; title != "roomcast-"+target {
		add("is titled %q", title)
	}

	binary := "/roomcast-" + target
	if !slices.Equal(image.Entrypoint, []string{binary}) {
		add("starts %q, not %s alone", image.Entrypoint, binary)
	}
	if !slices.Equal(image.Healthcheck, []string{"CMD", binary, "healthcheck"}) {
		add("is asked for its health by %q", image.Healthcheck)
	}
	if !slices.ContainsFunc(image.Files, func(file Copied) bool { return file.Target == binary && file.From == "build" }) {
		add("has no %s from the stage build", binary)
	}
	for _, setting := range []string{"ROOMCAST_LISTEN", "ROOMCAST_ADMIN"} {
		address, port, _ := strings.Cut(image.Env[setting], ":")
		if address != "0.0.0.0" || !slices.Contains(image.Ports, port) {
			add("sets %s to %q, which does not answer on one of its ports %q", setting, image.Env[setting], image.Ports)
		}
	}
	return wrong
}
