package emulator

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sverka/internal/emulator/php"
)

// allMethods is the method table. The costs are guesses at how long a cloud portal works on a call.
func allMethods() map[string]method {
	table := []method{
		{name: "telephony.externalCall.register", scope: "telephony", cost: 0.06, run: callRegister},
		{name: "telephony.externalCall.finish", scope: "telephony", cost: 0.08, run: callFinish, open: true},
		{name: "telephony.externalCall.show", scope: "telephony", cost: 0.02, run: callShow},
		{name: "telephony.externalCall.hide", scope: "telephony", cost: 0.02, run: callHide},
		{name: "telephony.externalCall.attachRecord", scope: "telephony", cost: 0.05, run: callAttach, open: true},
		{name: "telephony.externalCall.searchCrmEntities", scope: "telephony", cost: 0.03, run: callSearch},
		{name: "telephony.call.attachTranscription", scope: "telephony", cost: 0.05, run: callTranscript},
		{name: "telephony.externalLine.add", scope: "telephony", cost: 0.01, run: lineAdd},
		{name: "telephony.externalLine.update", scope: "telephony", cost: 0.01, run: lineUpdate},
		{name: "telephony.externalLine.get", scope: "telephony", cost: 0.01, run: lineGet},
		{name: "telephony.externalLine.delete", scope: "telephony", cost: 0.01, run: lineDelete},
		{name: "voximplant.statistic.get", scope: "telephony", cost: 0.01, run: statisticGet},
		{name: "user.get", scope: "user", cost: 0.02, run: userGet},
		{name: "user.current", scope: "user", cost: 0.01, run: userCurrent},
		{name: "profile", cost: 0.005, run: profile},
		{name: "scope", cost: 0.005, run: scopes},
		{name: "server.time", cost: 0.005, run: serverTime},
		{name: "method.get", cost: 0.005, run: methodGet},
		{name: "methods", cost: 0.005, run: methodList},
		{name: "app.info", cost: 0.005, run: appInfo},
		{name: "event.bind", cost: 0.01, run: eventBind},
		{name: "event.get", cost: 0.01, run: eventGet},
		{name: "event.unbind", cost: 0.01, run: eventUnbind},
		{name: "event.offline.get", cost: 0.01, run: adminOnly(offlineGet)},
		{name: "event.offline.list", cost: 0.01, run: adminOnly(offlineList)},
		{name: "event.offline.clear", cost: 0.01, run: adminOnly(offlineClear)},
		{name: "event.offline.error", cost: 0.01, run: adminOnly(offlineError)},
		{name: "events", cost: 0.005, run: eventList},
		{name: "feature.get", cost: 0.005, run: featureGet},
		{name: "crm.duplicate.findbycomm", scope: "crm", cost: 0.02, run: duplicates},
		{name: "crm.item.add", scope: "crm", cost: 0.15, run: universalAdd},
		{name: "crm.item.delete", scope: "crm", cost: 0.1, run: universalDelete},
		{name: "crm.item.fields", scope: "crm", cost: 0.02, run: universalFields},
		{name: "crm.item.get", scope: "crm", cost: 0.03, run: universalGet},
		{name: "crm.item.list", scope: "crm", cost: 0.05, run: universalList},
		{name: "crm.item.update", scope: "crm", cost: 0.1, run: universalUpdate},
		{name: "crm.activity.list", scope: "crm", cost: 0.04, run: activityList},
		{name: "crm.activity.fields", scope: "crm", cost: 0.01, run: activityFieldList},
		{name: "crm.activity.get", scope: "crm", cost: 0.02, run: activityGet},
		{name: "crm.settings.mode.get", scope: "crm", cost: 0.005, run: settingsMode},
		{name: "crm.status.list", scope: "crm", cost: 0.01, run: statusList},
		{name: "disk.file.get", scope: "disk", cost: 0.01, run: diskFile},
	}
	for _, k := range []itemKind{lead, deal, contact, company} {
		prefix := "crm." + strings.ToLower(k.name())
		table = append(table,
			method{name: prefix + ".add", scope: "crm", cost: 0.15, run: itemAdd(k)},
			method{name: prefix + ".fields", scope: "crm", cost: 0.01, run: itemFieldList(k)},
			method{name: prefix + ".get", scope: "crm", cost: 0.03, run: itemGet(k)},
			method{name: prefix + ".list", scope: "crm", cost: 0.05, run: itemList(k)},
			method{name: prefix + ".update", scope: "crm", cost: 0.1, run: itemUpdate(k)},
			method{name: prefix + ".delete", scope: "crm", cost: 0.1, run: itemDelete(k)},
		)
	}
	m := make(map[string]method, len(table))
	for _, e := range table {
		m[strings.ToLower(e.name)] = e
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// shown is a value as an answer has it: times as text.
func shown(v any) any {
	if t, ok := v.(time.Time); ok {
		return t.Format(iso)
	}
	return v
}

func scopes(p *Portal, q *query) (answer, error) {
	granted := slices.DeleteFunc(slices.Clone(q.by.scope), func(s string) bool { return slices.Contains(p.rules.NoScopes, s) })
	if php.Flag(q.arg("full")) {
		granted = []string{"crm", "disk", "im", "placement", "tasks", "telephony", "user", "user_basic", "user_brief"}
	}
	return answer{result: php.List(granted...)}, nil
}

func serverTime(p *Portal, _ *query) (answer, error) {
	return answer{result: p.today().Format(iso)}, nil
}

// methodGet knows names in lower case only.
func methodGet(p *Portal, q *query) (answer, error) {
	m, ok := p.methods[q.text("name")]
	available := ok && q.by.may(m.scope) && !slices.Contains(p.rules.NoScopes, m.scope)
	return answer{result: php.Map("isExisting", ok, "isAvailable", available)}, nil
}

func methodList(p *Portal, q *query) (answer, error) {
	out := &php.Array{}
	for _, k := range sortedKeys(p.methods) {
		if m := p.methods[k]; !q.has("scope") || m.scope == q.text("scope") {
			out.Append(strings.ToLower(m.name))
		}
	}
	return answer{result: out}, nil
}

func appInfo(p *Portal, q *query) (answer, error) {
	if q.by.app == nil {
		return answer{}, &Error{Status: http.StatusBadRequest, Code: "ACCESS_DENIED", Text: "Access denied! Application context required"}
	}
	return answer{result: php.Map(
		"ID", php.Int(appNumber), "CODE", q.by.app.ID, "VERSION", 1, "STATUS", "L", "INSTALLED", q.by.app.installed, "PAYMENT_EXPIRED", "N",
		"DAYS", nil, "LANGUAGE_ID", "ru", "LICENSE", "ru_"+p.license, "LICENSE_TYPE", p.license, "LICENSE_FAMILY", p.license,
	)}, nil
}

func featureGet(_ *Portal, q *query) (answer, error) {
	switch q.text("CODE") {
	case "":
		return answer{}, &Error{Status: http.StatusBadRequest, Code: "CODE_EMPTY", Text: "CODE can't be empty"}
	case "rest_offline_extended", "rest_auth_connector":
		return answer{result: php.Map("value", "Y")}, nil
	}
	return answer{result: php.Map("value", "N")}, nil
}

func settingsMode(p *Portal, _ *query) (answer, error) {
	if p.mode == Classic {
		return answer{result: 1}, nil
	}
	return answer{result: 2}, nil
}
