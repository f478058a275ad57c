package emulator

import (
	"slices"

	"sverka/internal/emulator/php"
)

// fieldTypes are the types of fields that are neither text nor number nor date.
var fieldTypes = map[string]string{
	"ASSIGNED_BY_ID": "user", "CREATED_BY_ID": "user", "COMPANY_ID": "crm_company", "CONTACT_ID": "crm_contact", "LEAD_ID": "crm_lead",
	"SOURCE_ID": "crm_status", "STATUS_ID": "crm_status", "STAGE_ID": "crm_status", "TYPE_ID": "crm_status", "HONORIFIC": "crm_status",
	"CATEGORY_ID": "crm_category", "OPPORTUNITY": "double", "CURRENCY_ID": "crm_currency", "OPENED": "char", "EXPORT": "char",
	"IS_RETURN_CUSTOMER": "char", "PHONE": "crm_multifield", "EMAIL": "crm_multifield", "WEB": "crm_multifield", "IM": "crm_multifield",
	"COMPLETED": "char",
}

var readOnly = []string{"ID", "DATE_CREATE", "DATE_MODIFY", "IS_RETURN_CUSTOMER", "CREATED"}

func describeField(name string, kind fieldKind) *php.Array {
	t := fieldTypes[name]
	if t == "" {
		t = map[fieldKind]string{text: "string", integer: "integer", date: "datetime", flag: "char"}[kind]
	}
	return php.Map(
		"type", t, "isRequired", false, "isReadOnly", slices.Contains(readOnly, name), "isImmutable", false,
		"isMultiple", slices.Contains(multiFields, name), "isDynamic", isUserField(name), "title", name,
	)
}

func itemFieldList(kind itemKind) func(*Portal, *query) (answer, error) {
	return func(*Portal, *query) (answer, error) {
		out := &php.Array{}
		for _, f := range slices.Concat(fieldOrder, multiFields) {
			if universalName(kind, f) != "" {
				out.Set(f, describeField(f, itemFields[f]))
			}
		}
		return answer{result: out}, nil
	}
}

func activityFieldList(*Portal, *query) (answer, error) {
	out := &php.Array{}
	for _, f := range sortedKeys(activityFields) {
		out.Set(f, describeField(f, activityFields[f]))
	}
	return answer{result: out}, nil
}

func universalFields(_ *Portal, q *query) (answer, error) {
	kind, err := universalKind(q)
	if err != nil {
		return answer{}, err
	}
	out := &php.Array{}
	for _, f := range fieldOrder {
		if name := universalName(kind, f); name != "" {
			d := describeField(f, itemFields[f])
			d.Set("upperName", f)
			out.Set(name, d)
		}
	}
	return answer{result: php.Map("fields", out)}, nil
}

// classicFields renames the fields of a universal method, with those of fm by their type. Fields that are not known are dropped.
func classicFields(kind itemKind, given *php.Array) *php.Array {
	fields := &php.Array{}
	for name, v := range given.All() {
		if name == "fm" {
			addMulti(fields, v)
			continue
		}
		if f := classicName(kind, name); f != "" {
			fields.Set(f, v)
		}
	}
	return fields
}

func addMulti(fields *php.Array, v any) {
	list, _ := v.(*php.Array)
	for _, v := range list.All() {
		entry, _ := v.(*php.Array)
		of := php.Text(entry.Get("typeId"))
		if !slices.Contains(multiFields, of) {
			continue
		}
		values, _ := fields.Get(of).(*php.Array)
		if values == nil {
			values = &php.Array{}
			fields.Set(of, values)
		}
		values.Append(php.Map("ID", entry.Get("id"), "VALUE", entry.Get("value"), "VALUE_TYPE", entry.Get("valueType")))
	}
}

func universalAdd(p *Portal, q *query) (answer, error) {
	kind, err := universalKind(q)
	if err != nil {
		return answer{}, err
	}
	given, _ := q.array("fields")
	e := p.crm.add(kind, map[string]string{}, p.today())
	p.writeItem(e, classicFields(kind, given))
	if kind == lead && p.mode == Simple {
		p.convert(e)
	}
	return answer{result: php.Map("item", e.universal(true))}, nil
}

func universalDelete(p *Portal, q *query) (answer, error) {
	e, err := p.universalItem(q)
	if err != nil {
		return answer{}, err
	}
	p.crm.remove(e)
	return answer{result: &php.Array{}}, nil
}
