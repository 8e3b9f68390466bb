// Package check tests docker-compose.yml and deploy/docker where no Docker is at hand: by the
// parsers that Docker has, by the flags and settings that the binary has, and by running the
// processes that the containers would. It is a module of its own, since nothing else needs
// those parsers and all that they bring.
package check
