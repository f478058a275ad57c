package demo

import "sverka/internal/emulator"

// Names of the office's PBX.
const (
	Trunk       = "SIP-TRUNK-1A2B3C4D" // the account of the provider
	salesLine   = "74955550100"        // a DID as the PBX writes it
	supportLine = "74955550200"
	salesQueue  = "2200100"
	helpQueue   = "2200101"
	menu        = "2200200" // the IVR
)

// pbxMonitor is where a MikoPBX keeps recordings: its rows name them below this directory, wherever the disk is mounted.
const pbxMonitor = "/storage/usbdisk1/mikopbx/astspool/monitor"

// Line is one of the office's numbers.
type Line struct {
	Number string // E.164
	Name   string
	DIDs   []string // how the PBX writes it: the DID of inbound calls, the trunk of outbound ones
}

// Lines are the office's numbers.
func Lines() []Line {
	return []Line{
		{Number: "+" + salesLine, Name: "Продажи", DIDs: []string{salesLine, Trunk}},
		{Number: "+" + supportLine, Name: "Поддержка", DIDs: []string{supportLine}},
	}
}

// admin is the portal's user who takes what belongs to nobody: employees.fallback.
const admin = 1

type employee struct {
	id             int
	name, lastName string
	extension      string
	mobile         string // digits, as a forwarded call dials it
}

func (e employee) fullName() string { return e.name + " " + e.lastName }

func sales() []employee {
	return []employee{
		{11, "Иван", "Петров", "201", "79030000201"},
		{12, "Мария", "Соколова", "202", "79030000202"},
		{13, "Алексей", "Орлов", "203", "79030000203"},
	}
}

func support() []employee {
	return []employee{
		{14, "Ольга", "Лебедева", "204", "79030000204"},
		{15, "Дмитрий", "Волков", "205", "79030000205"},
		{16, "Анна", "Зайцева", "206", "79030000206"},
	}
}

type client struct {
	name    string // "" for a number that the portal does not know yet
	number  string // digits with the country code
	manager int    // index among the salespeople
	deal    bool
}

func (c client) e164() string { return "+" + c.number }

// leadNumber is the client whom the portal knows as a lead, excludedNumber one whom it must make nothing of.
const (
	leadNumber     = "79265550142"
	excludedNumber = "79995550199"
)

func clients() []client {
	return []client{
		{"Елена Крылова", "79165550101", 0, true},
		{"Сергей Морозов", "79265550102", 1, true},
		{"Наталья Белова", "79035550103", 2, true},
		{"Павел Громов", "79855550104", 0, false},
		{"Ирина Тихонова", "79165550105", 1, true},
		{"ООО «Северный ветер»", "74955550106", 2, true},
		{"Виктор Фомин", "79255550107", 0, false},
		{"Татьяна Жукова", "79095550108", 1, false},
		{"Кирилл Макаров", "79635550109", 2, true},
		{"Светлана Ершова", "79775550110", 0, false},
		{"ИП Баранов", "78125550111", 1, true},
		{"Юлия Дроздова", "79815550112", 2, false},
		{number: leadNumber},
		{number: excludedNumber},
		{number: "79165550121"},
		{number: "79265550122"},
		{number: "79035550123"},
		{number: "79855550124"},
		{number: "79605550125"},
		{number: "79175550126"},
		{number: "79225550127"},
		{number: "79505550128"},
		{number: "79135550129"},
		{number: "79045550130"},
	}
}

// Seed is what the portal holds of this office before the first call: employees, the clients it knows, a lead and a number that the
// CRM leaves alone.
func Seed() emulator.Seed {
	seed := emulator.Seed{
		Leads:    []emulator.SeedItem{{Phone: "+" + leadNumber, Title: "Заявка с сайта: кухня на заказ", Name: "Роман", Assigned: sales()[1].id}},
		Excluded: []string{"+" + excludedNumber},
	}
	for _, e := range append(sales(), support()...) {
		seed.Employees = append(seed.Employees, emulator.Employee{
			ID: e.id, Name: e.name, LastName: e.lastName, Inner: e.extension, Mobile: "+" + e.mobile, Active: true,
		})
	}
	for _, c := range clients() {
		if c.name != "" {
			seed.Contacts = append(seed.Contacts, emulator.SeedItem{Phone: c.e164(), Name: c.name, Assigned: sales()[c.manager].id, Deal: c.deal})
		}
	}
	return seed
}
