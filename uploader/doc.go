// Package uploader brings a recording from the PBX's disk to the portal: it finds the file a CDR row names, waits until it is complete,
// converts it, stages it and attaches it to its call.
package uploader
