// Package wire reads and writes what travels to and from a Bitrix24 portal, whose other end is PHP.
//
// Its types read an empty map that comes as [], a list with holes that comes as a map, numbers that come as strings, and null or false for
// nothing. A value of another shape reads as nothing, and whoever needs the value says that it is missing.
package wire
