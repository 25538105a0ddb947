// `make deploy-check` and the tests beside it call this: `check TOP` says what is wrong with deploy/Dockerfile
// and deploy/compose.yaml of the tree at TOP; `check TOP image TARGET` and `check TOP service NAME` print, as
// JSON, what a container of it is given.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 && len(args) != 3 {
		return fmt.Errorf("usage: check TOP [image TARGET | service NAME]")
	}
	top, err := filepath.EvalSymlinks(args[0])
	if err != nil {
		return err
	}
	if top, err = filepath.Abs(top); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(top, "deploy/Dockerfile"))
	if err != nil {
		return err
	}
	if len(args) == 3 && args[1] == "image" {
		image, err := readImage(text, args[2], nil)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(image)
	}
	project, err := loadCompose(filepath.Join(top, "deploy/compose.yaml"))
	if err != nil {
		return err
	}
	if len(args) == 3 {
		service, err := project.GetService(args[2])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(service)
	}
	wrong := 0
	for file, mistakes := range map[string][]string{
		"deploy/Dockerfile":   checkDockerfile(top, text),
		"deploy/compose.yaml": checkCompose(top, project),
	} {
		for _, mistake := range mistakes {
			fmt.Printf("%s: %s\n", file, mistake)
		}
		wrong += len(mistakes)
	}
	if wrong > 0 {
		return fmt.Errorf("%d mistakes", wrong)
	}
	return nil
}
