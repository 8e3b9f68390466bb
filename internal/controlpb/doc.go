// Package controlpb is what runtime hosts and control say to each other: the
// generated code of control.proto, and the one place that translates its messages
// and statuses to and from the words of package faas.
package controlpb
