package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Seed is what a portal holds before the first request.
type Seed struct {
	Employees []Employee `json:"employees"`
	Contacts  []SeedItem `json:"contacts"`
	Leads     []SeedItem `json:"leads"`
	Excluded  []string   `json:"excluded"` // phones in the CRM's exclusion list
}

// Employee is a user of the portal. The administrator, 1, is always there and owns the webhook.
type Employee struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	LastName string `json:"last_name"`
	Inner    string `json:"inner"` // inner number: 1 to 4 digits, nobody else's
	Mobile   string `json:"mobile"`
	Work     string `json:"work"`
	Active   bool   `json:"active"` // true unless the seed says false
}

// UnmarshalJSON makes an employee active unless the text says otherwise.
func (e *Employee) UnmarshalJSON(b []byte) error {
	type plain Employee
	v := plain{Active: true}
	if err := strict(b, &v); err != nil {
		return err
	}
	*e = Employee(v)
	return nil
}

// SeedItem is a contact or a lead of a seed.
type SeedItem struct {
	Phone    string `json:"phone"`
	Name     string `json:"name"`
	Title    string `json:"title"`
	Assigned int    `json:"assigned"` // 0: the administrator
	Deal     bool   `json:"deal"`     // contacts: with an open deal
}

// ReadSeed reads a seed from JSON. A key that is not known is an error.
func ReadSeed(r io.Reader) (Seed, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return Seed{}, fmt.Errorf("read seed: %w", err)
	}
	var s Seed
	if err := strict(b, &s); err != nil {
		return Seed{}, fmt.Errorf("read seed: %w", err)
	}
	if err := s.check(); err != nil {
		return Seed{}, fmt.Errorf("read seed: %w", err)
	}
	return s, nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the JSON object")
	}
	return nil
}

// innerNumber is what an administrator can store as an inner number.
var innerNumber = regexp.MustCompile(`^\d{1,4}$`)

func (s Seed) check() error {
	ids, inner := map[int]bool{}, map[string]int{}
	for _, e := range s.Employees {
		switch {
		case e.ID <= 0:
			return fmt.Errorf("employee %s %s has no id", e.Name, e.LastName)
		case ids[e.ID]:
			return fmt.Errorf("employee %d is there twice", e.ID)
		case e.Inner != "" && !innerNumber.MatchString(e.Inner):
			return fmt.Errorf("employee %d: inner number %q is not 1 to 4 digits", e.ID, e.Inner)
		case e.Inner != "" && inner[e.Inner] != 0:
			return fmt.Errorf("employees %d and %d have the same inner number %s", inner[e.Inner], e.ID, e.Inner)
		}
		ids[e.ID] = true
		if e.Inner != "" {
			inner[e.Inner] = e.ID
		}
	}
	for _, c := range s.Contacts {
		if normalPhone(c.Phone) == "" {
			return fmt.Errorf("contact %q has no phone", c.Name)
		}
		if c.Title != "" {
			return fmt.Errorf("contact %s has a title; contacts have a name", c.Phone)
		}
	}
	for _, l := range s.Leads {
		if normalPhone(l.Phone) == "" {
			return fmt.Errorf("lead %q has no phone", l.Title)
		}
		if l.Deal {
			return fmt.Errorf("lead %s cannot have a deal", l.Phone)
		}
	}
	return nil
}

func (p *Portal) plantSeed(s Seed) error {
	if err := s.check(); err != nil {
		return err
	}
	p.users = newUsers(s.Employees)
	for _, c := range s.Contacts {
		e := p.crm.add(contact, map[string]string{"NAME": c.Name, "ASSIGNED_BY_ID": owner(c.Assigned), "SOURCE_ID": "CALL"}, p.today(), c.Phone)
		if c.Deal {
			p.crm.add(deal, map[string]string{
				"TITLE": "Сделка: " + c.Name, "ASSIGNED_BY_ID": owner(c.Assigned), "CONTACT_ID": itoa(e.id), "STAGE_ID": "NEW",
			}, p.today())
		}
	}
	for _, l := range s.Leads {
		p.crm.add(lead, map[string]string{
			"TITLE": l.Title, "NAME": l.Name, "ASSIGNED_BY_ID": owner(l.Assigned), "STATUS_ID": "NEW", "SOURCE_ID": "CALL",
		}, p.today(), l.Phone)
	}
	for _, n := range s.Excluded {
		p.crm.excluded[normalPhone(n)] = true
	}
	return nil
}

func owner(id int) string {
	if id == 0 {
		id = adminID
	}
	return itoa(int64(id))
}
