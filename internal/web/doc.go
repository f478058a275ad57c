// Package web is what the service answers over HTTP: its health, the installation of the local app, the authorization of the portal by
// code, and the events of the portal.
//
// Whoever can reach it may send anything, so nothing is believed before it is proven: an event by the application token, tokens by the
// OAuth server of the configuration, which gives new ones only to who knows the app's secret.
package web
