package emulator

import (
	"net/http"
	"slices"
	"strings"

	"sverka/internal/emulator/php"
)

// itemFields are the fields of leads, deals, contacts and companies that the portal keeps; others are dropped without a word. UF_ fields are
// kept as well.
var itemFields = map[string]fieldKind{
	"ID": integer, "TITLE": text, "NAME": text, "SECOND_NAME": text, "LAST_NAME": text, "HONORIFIC": text, "POST": text, "COMMENTS": text,
	"OPENED": text, "EXPORT": text, "ADDRESS": text, "SOURCE_ID": text, "SOURCE_DESCRIPTION": text, "ASSIGNED_BY_ID": integer,
	"CREATED_BY_ID": integer, "COMPANY_ID": integer, "COMPANY_TITLE": text, "COMPANY_TYPE": text, "CONTACT_ID": integer, "LEAD_ID": integer,
	"STATUS_ID": text, "STATUS_DESCRIPTION": text, "STAGE_ID": text, "CATEGORY_ID": integer, "TYPE_ID": text, "OPPORTUNITY": integer,
	"CURRENCY_ID": text, "ORIGINATOR_ID": text, "ORIGIN_ID": text, "ORIGIN_VERSION": text, "IS_RETURN_CUSTOMER": text, "UTM_SOURCE": text,
	"DATE_CREATE": date, "DATE_MODIFY": date, "PHONE": text, "EMAIL": text, "WEB": text, "IM": text,
}

var multiFields = []string{"PHONE", "EMAIL", "WEB", "IM"}

// fieldOrder is the order in which fields are shown.
var fieldOrder = []string{
	"ID", "TITLE", "NAME", "SECOND_NAME", "LAST_NAME", "HONORIFIC", "POST", "COMMENTS", "OPENED", "EXPORT", "ADDRESS", "SOURCE_ID",
	"SOURCE_DESCRIPTION", "ASSIGNED_BY_ID", "CREATED_BY_ID", "COMPANY_ID", "COMPANY_TITLE", "COMPANY_TYPE", "CONTACT_ID", "LEAD_ID", "STATUS_ID",
	"STATUS_DESCRIPTION", "STAGE_ID", "CATEGORY_ID", "TYPE_ID", "OPPORTUNITY", "CURRENCY_ID", "ORIGINATOR_ID", "ORIGIN_ID", "ORIGIN_VERSION",
	"IS_RETURN_CUSTOMER", "UTM_SOURCE", "DATE_CREATE", "DATE_MODIFY",
}

func isUserField(name string) bool { return strings.HasPrefix(name, "UF_") }

func (e *item) field(name string) any {
	switch name {
	case "ID":
		return itoa(e.id)
	case "DATE_CREATE":
		return e.created
	case "DATE_MODIFY":
		return e.changed
	case "PHONE", "EMAIL", "WEB", "IM":
		out := []string{}
		for _, v := range e.multi[name] {
			out = append(out, v.text)
		}
		return out
	}
	return e.fields[name]
}

// row shows an item as the classic methods do: texts, and null for what is empty. all asks for user and multiple fields too.
func (e *item) row(wanted func(field string) bool) *php.Array {
	out := &php.Array{}
	for _, f := range fieldOrder {
		if !wanted(f) {
			continue
		}
		switch f {
		case "ID":
			out.Set(f, itoa(e.id))
		case "DATE_CREATE":
			out.Set(f, e.created.Format(iso))
		case "DATE_MODIFY":
			out.Set(f, e.changed.Format(iso))
		default:
			out.Set(f, textOrNull(e.fields[f]))
		}
	}
	for _, f := range multiFields {
		if !wanted(f) || len(e.multi[f]) == 0 {
			continue
		}
		vals := &php.Array{}
		for _, v := range e.multi[f] {
			vals.Append(php.Map("ID", itoa(v.id), "VALUE_TYPE", v.kind, "VALUE", v.text, "TYPE_ID", f))
		}
		out.Set(f, vals)
	}
	for _, f := range sortedKeys(e.fields) {
		if isUserField(f) && wanted(f) {
			out.Set(f, e.fields[f])
		}
	}
	return out
}

// selection reads a select list: without one, and with *, all but user and multiple fields.
func selection(list *php.Array) func(string) bool {
	named := map[string]bool{"ID": true}
	for _, f := range list.All() {
		named[php.Text(f)] = true
	}
	plain := list.Len() == 0 || named["*"]
	return func(f string) bool {
		switch {
		case named[f]:
			return true
		case isUserField(f):
			return named["UF_*"]
		}
		return plain && !slices.Contains(multiFields, f)
	}
}

// write stores fields of a request in an item.
func (p *Portal) writeItem(e *item, fields *php.Array) {
	p.crm.unindex(e)
	for name, v := range fields.All() {
		if slices.Contains(multiFields, name) {
			p.writeMulti(e, name, v)
			continue
		}
		if _, ok := itemFields[name]; ok && name != "ID" && name != "DATE_CREATE" && name != "DATE_MODIFY" || isUserField(name) {
			e.fields[name] = php.Text(v)
		}
	}
	e.changed = p.today()
	p.crm.index(e)
}

// writeMulti edits a field with several values: an ID changes one, no ID adds one, DELETE=Y or an empty VALUE takes one away.
func (p *Portal) writeMulti(e *item, name string, v any) {
	list, _ := v.(*php.Array)
	for _, v := range list.All() {
		entry, ok := v.(*php.Array)
		if !ok {
			continue
		}
		id, val, kind := php.Int(entry.Get("ID")), php.Text(entry.Get("VALUE")), php.Text(entry.Get("VALUE_TYPE"))
		if kind == "" {
			kind = "WORK"
		}
		i := slices.IndexFunc(e.multi[name], func(o value) bool { return id != 0 && o.id == id })
		gone := val == "" || entry.Get("DELETE") == "Y"
		switch {
		case i >= 0 && gone:
			e.multi[name] = slices.Delete(e.multi[name], i, i+1)
		case i >= 0:
			e.multi[name][i].text, e.multi[name][i].kind = val, kind
		case !gone:
			e.multi[name] = append(e.multi[name], p.crm.value(val, kind))
		}
	}
}

func itemAdd(kind itemKind) func(*Portal, *query) (answer, error) {
	return func(p *Portal, q *query) (answer, error) {
		fields, ok := q.array("fields")
		if !ok {
			return answer{}, refuseCRM("Parameter 'fields' must be array")
		}
		e := p.crm.add(kind, map[string]string{}, p.today())
		p.writeItem(e, fields)
		if kind == lead && p.mode == Simple {
			p.convert(e)
		}
		return answer{result: e.id}, nil
	}
}

// theItem finds the item that a classic method's id names.
func (p *Portal) theItem(kind itemKind, q *query) (*item, error) {
	id := php.Int(q.arg("id"))
	if id <= 0 {
		return nil, refuseCRM("ID is not defined or invalid")
	}
	e := p.crm.get(kind, id)
	if e == nil {
		return nil, refuseCRM("Not found")
	}
	return e, nil
}

func itemGet(kind itemKind) func(*Portal, *query) (answer, error) {
	return func(p *Portal, q *query) (answer, error) {
		e, err := p.theItem(kind, q)
		if err != nil {
			return answer{}, err
		}
		return answer{result: e.row(func(string) bool { return true })}, nil
	}
}

func itemUpdate(kind itemKind) func(*Portal, *query) (answer, error) {
	return func(p *Portal, q *query) (answer, error) {
		e, err := p.theItem(kind, q)
		if err != nil {
			return answer{}, err
		}
		fields, ok := q.array("fields")
		if !ok {
			return answer{}, refuseCRM("Parameter 'fields' must be array")
		}
		p.writeItem(e, fields)
		p.crm.happen(e.kind.name(), "UPDATE", e.id)
		return answer{result: true}, nil
	}
}

func itemDelete(kind itemKind) func(*Portal, *query) (answer, error) {
	return func(p *Portal, q *query) (answer, error) {
		e, err := p.theItem(kind, q)
		if err != nil {
			return answer{}, err
		}
		p.crm.remove(e)
		return answer{result: true}, nil
	}
}

// choose filters and sorts what a classic list method asks for.
func choose[T any](q *query, p *Portal, all []T, fields map[string]fieldKind, field func(T, string) any) ([]T, error) {
	for _, name := range []string{"order", "filter"} {
		if _, isArray := q.array(name); q.has(name) && !isArray {
			return nil, refuseCRM("Parameter '" + name + "' must be array")
		}
	}
	conds, dropped := parseFilter(q.arg("filter"), listOperators, fields, p.zone)
	p.noteDropped("crm list", dropped)
	var found []T
	for _, e := range all {
		if !slices.ContainsFunc(conds, func(c condition) bool { return !c.match(field(e, c.field)) }) {
			found = append(found, e)
		}
	}
	by, _ := q.array("order")
	slices.SortStableFunc(found, func(a, b T) int {
		for f, direction := range by.All() {
			kind, ok := fields[f]
			if !ok {
				continue
			}
			c := condition{kind: kind}
			if o := order(c.norm(field(a, f)), c.norm(field(b, f))); o != 0 {
				if strings.EqualFold(php.Text(direction), "DESC") {
					return -o
				}
				return o
			}
		}
		return 0
	})
	return found, nil
}

func itemList(kind itemKind) func(*Portal, *query) (answer, error) {
	return func(p *Portal, q *query) (answer, error) {
		found, err := choose(q, p, p.crm.items[kind], itemFields, (*item).field)
		if err != nil {
			return answer{}, err
		}
		rows, total, next := page(found, q.start())
		selected, _ := q.array("select")
		out := &php.Array{}
		for _, e := range rows {
			out.Append(e.row(selection(selected)))
		}
		return answer{result: out, counted: true, total: total, next: next}, nil
	}
}

// universalName is a field's name in the universal methods.
func universalName(kind itemKind, field string) string {
	switch field {
	case "STATUS_ID", "STAGE_ID":
		if (field == "STATUS_ID") == (kind == lead) {
			return "stageId"
		}
		return ""
	case "DATE_CREATE":
		return "createdTime"
	case "DATE_MODIFY":
		return "updatedTime"
	case "CREATED_BY_ID":
		return "createdBy"
	}
	parts := strings.Split(strings.ToLower(field), "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

// classicName is the reverse, "" for a field that is not known.
func classicName(kind itemKind, name string) string {
	for f := range itemFields {
		if n := universalName(kind, f); n != "" && n == name {
			return f
		}
	}
	return ""
}

func (e *item) universal(withPhones bool) *php.Array {
	out := &php.Array{}
	for _, f := range fieldOrder {
		var v any
		switch {
		case f == "ID":
			v = e.id
		case f == "DATE_CREATE":
			v = e.created.Format(iso)
		case f == "DATE_MODIFY":
			v = e.changed.Format(iso)
		case itemFields[f] == integer && f != "OPPORTUNITY":
			v = e.number(f)
		default:
			v = e.fields[f]
		}
		if n := universalName(e.kind, f); n != "" {
			out.Set(n, v)
		}
	}
	out.Set("entityTypeId", int64(e.kind))
	if withPhones {
		fm := &php.Array{}
		for _, f := range multiFields {
			for _, v := range e.multi[f] {
				fm.Append(php.Map("id", v.id, "typeId", f, "valueType", v.kind, "value", v.text))
			}
		}
		out.Set("fm", fm)
	}
	return out
}

func notFound(text string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "NOT_FOUND", Text: text}
}

// universalKind reads entityTypeId.
func universalKind(q *query) (itemKind, error) {
	k := itemKind(php.Int(q.arg("entityTypeId")))
	if k < lead || k > company {
		return 0, notFound("SPA not found")
	}
	return k, nil
}

func (p *Portal) universalItem(q *query) (*item, error) {
	k, err := universalKind(q)
	if err != nil {
		return nil, err
	}
	e := p.crm.get(k, php.Int(q.arg("id")))
	if e == nil {
		return nil, notFound("Item not found")
	}
	return e, nil
}

func universalGet(p *Portal, q *query) (answer, error) {
	e, err := p.universalItem(q)
	if err != nil {
		return answer{}, err
	}
	return answer{result: php.Map("item", e.universal(true))}, nil
}

func universalUpdate(p *Portal, q *query) (answer, error) {
	e, err := p.universalItem(q)
	if err != nil {
		return answer{}, err
	}
	given, _ := q.array("fields")
	p.writeItem(e, classicFields(e.kind, given))
	p.crm.happen(e.kind.name(), "UPDATE", e.id)
	return answer{result: php.Map("item", e.universal(true))}, nil
}

func universalList(p *Portal, q *query) (answer, error) {
	k, err := universalKind(q)
	if err != nil {
		return answer{}, err
	}
	// Unlike the classic lists, this one refuses fields that it does not know.
	filter, bad := &php.Array{}, ""
	given, _ := q.array("filter")
	for key, v := range given.All() {
		at := max(0, strings.IndexFunc(key, isLetter))
		f := classicName(k, key[at:])
		if f == "" {
			bad = key[at:]
			break
		}
		filter.Set(key[:at]+f, v)
	}
	if bad != "" {
		return answer{}, &Error{Status: http.StatusBadRequest, Code: "INVALID_ARG_VALUE", Text: "Invalid filter: field '" + bad + "' is not allowed in filter"}
	}
	by := &php.Array{}
	givenOrder, _ := q.array("order")
	for name, direction := range givenOrder.All() {
		if f := classicName(k, name); f != "" {
			by.Set(f, direction)
		}
	}
	found, err := choose(&query{args: php.Map("filter", filter, "order", by)}, p, p.crm.items[k], itemFields, (*item).field)
	if err != nil {
		return answer{}, err
	}
	rows, total, next := page(found, q.start())
	selected, _ := q.array("select")
	all := false
	for _, f := range selected.All() {
		all = all || f == "*"
	}
	items := &php.Array{}
	for _, e := range rows {
		items.Append(e.universal(all))
	}
	return answer{result: php.Map("items", items), counted: true, total: total, next: next}, nil
}

func duplicates(p *Portal, q *query) (answer, error) {
	no := func(text string) (answer, error) {
		return answer{}, &Error{Status: http.StatusBadRequest, Code: text, Text: text}
	}
	kind := q.text("type")
	if kind == "" {
		return no("Communication type is not defined")
	}
	if kind != "PHONE" && kind != "EMAIL" {
		return no("Communication type '" + kind + "' is not supported in current context")
	}
	values, ok := q.array("values")
	if !ok || values.Len() == 0 {
		return no("Communication values is not defined")
	}
	const most = 20 // values of a request
	out := &php.Array{}
	for _, k := range []itemKind{lead, contact, company} {
		if only := q.text("entity_type"); only != "" && kindNamed(only) != k {
			continue
		}
		var ids []int64
		n := 0
		for _, v := range values.All() {
			if n++; n > most {
				break
			}
			var found []*item
			if kind == "PHONE" {
				found = p.crm.byPhone[normalPhone(php.Text(v))]
			} else {
				found = slices.DeleteFunc(slices.Clone(p.crm.items[k]), func(e *item) bool {
					return !slices.ContainsFunc(e.multi["EMAIL"], func(m value) bool { return strings.EqualFold(m.text, php.Text(v)) })
				})
			}
			for _, e := range found {
				if e.kind == k && !slices.Contains(ids, e.id) {
					ids = append(ids, e.id)
				}
			}
		}
		if len(ids) > 0 {
			out.Set(k.name(), php.List(ids...))
		}
	}
	return answer{result: out}, nil
}

var activityFields = map[string]fieldKind{
	"ID": integer, "OWNER_ID": integer, "OWNER_TYPE_ID": integer, "TYPE_ID": integer, "PROVIDER_ID": text, "PROVIDER_TYPE_ID": text,
	"ASSOCIATED_ENTITY_ID": integer, "SUBJECT": text, "DIRECTION": integer, "COMPLETED": text, "RESPONSIBLE_ID": integer, "AUTHOR_ID": integer,
	"ORIGIN_ID": text, "START_TIME": date, "END_TIME": date, "DEADLINE": date, "CREATED": date, "STATUS": integer,
}

func (a *Activity) field(name string) any {
	yes := func(b bool, y, n string) string {
		if b {
			return y
		}
		return n
	}
	switch name {
	case "ID":
		return itoa(a.ID)
	case "OWNER_ID":
		return itoa(a.OwnerID)
	case "OWNER_TYPE_ID":
		return itoa(int64(kindNamed(a.OwnerType)))
	case "TYPE_ID":
		return "2"
	case "PROVIDER_ID":
		return "VOXIMPLANT_CALL"
	case "PROVIDER_TYPE_ID":
		return a.ProviderType
	case "SUBJECT":
		return a.Subject
	case "DIRECTION":
		return yes(a.Incoming, "1", "2")
	case "COMPLETED":
		return yes(a.Completed, "Y", "N")
	case "STATUS":
		return yes(a.Completed, "2", "1")
	case "RESPONSIBLE_ID", "AUTHOR_ID":
		return itoa(int64(a.Responsible))
	case "ORIGIN_ID":
		return a.OriginID
	case "START_TIME", "CREATED":
		return a.Start
	case "END_TIME", "DEADLINE":
		return a.End
	}
	return ""
}

// row shows an activity; COMMUNICATIONS and FILES only when they are named.
func (a *Activity) row(selected *php.Array, whole bool) *php.Array {
	named := map[string]bool{"ID": true}
	for _, f := range selected.All() {
		named[php.Text(f)] = true
	}
	plain := whole || selected.Len() == 0 || named["*"]
	out := &php.Array{}
	for _, f := range sortedKeys(activityFields) {
		if plain || named[f] {
			out.Set(f, php.From(shown(a.field(f))))
		}
	}
	if plain || named["SETTINGS"] {
		settings := &php.Array{}
		if a.MissedCall {
			settings.Set("MISSED_CALL", true)
		}
		out.Set("SETTINGS", settings)
	}
	if whole || named["COMMUNICATIONS"] {
		out.Set("COMMUNICATIONS", php.List[any](php.Map("TYPE", "PHONE", "VALUE", a.Phone, "ENTITY_ID", itoa(a.OwnerID),
			"ENTITY_TYPE_ID", itoa(int64(kindNamed(a.OwnerType))))))
	}
	if whole || named["FILES"] {
		files := &php.Array{}
		if a.FileID != 0 {
			files.Append(php.Map("id", a.FileID))
		}
		out.Set("FILES", files)
	}
	if whole || named["BINDINGS"] {
		bound := &php.Array{}
		for _, b := range a.Bindings {
			bound.Append(php.Map("OWNER_TYPE_ID", itoa(int64(kindNamed(b.Type))), "OWNER_ID", itoa(b.ID)))
		}
		out.Set("BINDINGS", bound)
	}
	return out
}

func activityList(p *Portal, q *query) (answer, error) {
	all := p.crm.activities
	filter, _ := q.array("filter")
	if id, ok := filter.Get("ORIGIN_ID").(string); ok && id != "" {
		all = p.crm.byOrigin[id]
	}
	if pairs, ok := filter.Get("BINDINGS").(*php.Array); ok {
		all = slices.DeleteFunc(slices.Clone(all), func(a *Activity) bool { return !a.boundTo(pairs) })
	}
	found, err := choose(q, p, all, activityFields, (*Activity).field)
	if err != nil {
		return answer{}, err
	}
	rows, total, next := page(found, q.start())
	selected, _ := q.array("select")
	out := &php.Array{}
	for _, a := range rows {
		out.Append(a.row(selected, false))
	}
	return answer{result: out, counted: true, total: total, next: next}, nil
}

func (a *Activity) boundTo(pairs *php.Array) bool {
	for _, v := range pairs.All() {
		pair, _ := v.(*php.Array)
		if slices.ContainsFunc(a.Bindings, func(b Binding) bool {
			return int64(kindNamed(b.Type)) == php.Int(pair.Get("OWNER_TYPE_ID")) && b.ID == php.Int(pair.Get("OWNER_ID"))
		}) {
			return true
		}
	}
	return false
}

func activityGet(p *Portal, q *query) (answer, error) {
	id := php.Int(q.arg("id"))
	if id <= 0 || id > int64(len(p.crm.activities)) {
		return answer{}, refuseCRM("Activity is not found")
	}
	return answer{result: p.crm.activities[id-1].row(nil, true)}, nil
}

func statusList(p *Portal, q *query) (answer, error) {
	all := make([]*php.Array, len(sources))
	for i, s := range sources {
		all[i] = php.Map("ID", itoa(int64(i+1)), "ENTITY_ID", "SOURCE", "STATUS_ID", s[0], "NAME", s[1], "NAME_INIT", s[1], "SORT", itoa(int64(10*i+10)),
			"SYSTEM", "N", "SEMANTICS", nil)
	}
	fields := map[string]fieldKind{"ID": integer, "ENTITY_ID": text, "STATUS_ID": text, "NAME": text, "SORT": integer}
	found, err := choose(q, p, all, fields, (*php.Array).Get)
	if err != nil {
		return answer{}, err
	}
	return answer{result: php.List(found...), counted: true, total: len(found)}, nil
}
