// What an integrator does with Bitrix24's own SDK, against the emulator. Prints one JSON object: what each step gave.
// usage: node sdk.mjs WEBHOOK, with NODE_EXTRA_CA_CERTS naming the emulator's CA.
import { B24Hook, B24OAuth } from "@bitrix24/b24jssdk";

const webhook = process.argv[2];
const origin = new URL(webhook).origin;
const hook = B24Hook.fromWebhookUrl(webhook.replace(/\/$/, ""));
const out = {};

// call gives the result of a method, or throws the error of the portal.
async function call(b24, method, params = {}) {
  const r = await b24.actions.v2.call.make({ method, params });
  if (!r.isSuccess) throw [...r.getErrors()][0];
  return r.getData().result;
}

// mistake gives "status code: text" of a call that has to fail.
async function mistake(b24, method, params) {
  try {
    await call(b24, method, params);
    return "no error";
  } catch (e) {
    return `${e.status} ${e.code}: ${e.message}`;
  }
}

const control = (name, form = {}) => fetch(`${origin}/emulator/${name}`, { method: "POST", body: new URLSearchParams(form) });

// authorize goes the way of a browser and changes the code for tokens.
async function authorize() {
  const asked = await fetch(`${origin}/oauth/authorize/?client_id=app.demo&state=x&redirect_uri=https://app.example.ru/`, { redirect: "manual" });
  const code = new URL(asked.headers.get("location")).searchParams.get("code");
  const params = new URLSearchParams({ grant_type: "authorization_code", client_id: "app.demo", client_secret: "demo-secret", code });
  return (await fetch(`${origin}/oauth/token/?${params}`)).json();
}

const granted = await authorize();
const tokens = {
  applicationToken: "", userId: granted.user_id, memberId: granted.member_id, accessToken: granted.access_token, refreshToken: granted.refresh_token,
  expires: granted.expires, expiresIn: granted.expires_in, scope: granted.scope, domain: new URL(granted.client_endpoint).host,
  clientEndpoint: granted.client_endpoint, serverEndpoint: granted.server_endpoint, status: granted.status,
};
const app = new B24OAuth(tokens, { clientId: "app.demo", clientSecret: "demo-secret" });
let refreshed = 0;
app.setCallbackRefreshAuth(async () => { refreshed++; });

// Users, page by page and all at once.
const page = await hook.actions.v2.call.make({ method: "user.get", params: { filter: { ACTIVE: true }, start: 50 } });
out.secondPage = page.getData().result.length;
out.more = page.isMore();
out.total = page.getTotal();
const all = await hook.actions.v2.callList.make({ method: "user.get", params: { filter: { ACTIVE: true } }, idKey: "ID" });
out.userList = all.isSuccess ? all.getData().length : all.getErrorMessages();

// A call from the first ring to its recording, as the application.
const registered = await call(app, "telephony.externalCall.register", {
  USER_ID: 17, PHONE_NUMBER: "+79161234567", TYPE: 2, CALL_START_DATE: "2026-03-11T12:00:00+03:00", CRM_CREATE: 1, SHOW: 0,
  LINE_NUMBER: "+74951234567", EXTERNAL_CALL_ID: "1773219600.1",
});
const id = registered.CALL_ID;
out.client = [registered.CRM_ENTITY_TYPE, registered.CRM_ENTITY_ID];
out.show = await call(app, "telephony.externalCall.show", { CALL_ID: id, USER_ID: [17, 18] });
out.hide = await call(app, "telephony.externalCall.hide", { CALL_ID: id, USER_ID: [18] });
const finished = await call(app, "telephony.externalCall.finish", { CALL_ID: id, USER_ID: 17, DURATION: 42, STATUS_CODE: "200", ADD_TO_CHAT: 0 });
out.finish = [finished.CALL_DURATION, finished.CALL_FAILED_CODE, finished.PORTAL_NUMBER, finished.REST_APP_ID];
const record = Buffer.from("a recording").toString("base64");
out.attached = await call(app, "telephony.externalCall.attachRecord", { CALL_ID: id, FILENAME: "call.mp3", FILE_CONTENT: record });

// Statistics with filters.
const rows = async (FILTER) => (await call(app, "voximplant.statistic.get", { FILTER, SORT: "ID", ORDER: "ASC" })).map((r) => r.EXTERNAL_CALL_ID);
out.byExternalID = await rows({ EXTERNAL_CALL_ID: "1773219600.1" });
out.byDate = await rows({ ">=CALL_START_DATE": "2026-03-11T11:59:00+03:00", "<CALL_START_DATE": "2026-03-11T12:01:00+03:00" });
out.byDuration = await rows({ ">CALL_DURATION": 42 });
out.recordID = (await call(app, "voximplant.statistic.get", { FILTER: { CALL_ID: id } }))[0].RECORD_FILE_ID;

// register and finish in one batch, the second with what the first gave.
const both = await app.actions.v2.batch.make({
  calls: {
    reg: ["telephony.externalCall.register", { USER_ID: 18, PHONE_NUMBER: "+79995550002", TYPE: 1, SHOW: 0, EXTERNAL_CALL_ID: "1773219600.2" }],
    fin: ["telephony.externalCall.finish", { CALL_ID: "$result[reg][CALL_ID]", USER_ID: 18, DURATION: 0, STATUS_CODE: "486" }],
  },
  options: { isHaltOnError: true },
});
out.batch = both.isSuccess ? [both.getData().reg.CALL_ID === both.getData().fin.CALL_ID, both.getData().fin.CALL_FAILED_CODE] : both.getErrorMessages();

// A batch that stops at its first mistake.
const halted = await app.actions.v2.batch.make({
  calls: { one: ["telephony.externalCall.register", { USER_ID: 18 }], two: ["server.time", {}] },
  options: { isHaltOnError: true, returnAjaxResult: true },
});
out.halted = [halted.isSuccess, halted.getErrorMessages()];

// The access token grows old: the SDK refreshes once and goes on.
await control("expire");
out.afterExpiry = (await call(app, "user.current")).ID;
out.refreshed = refreshed;

// Documented mistakes.
const t = "telephony.externalCall.";
const good = { USER_ID: 17, PHONE_NUMBER: "+79995550003", TYPE: 2, SHOW: 0 };
out.mistakes = {};
for (const [name, b24, method, params] of [
  ["register without a user", app, t + "register", { ...good, USER_ID: undefined }],
  ["register of an unknown user", app, t + "register", { ...good, USER_ID: 999 }],
  ["register of an unknown type", app, t + "register", { ...good, TYPE: 9 }],
  ["register without a number", app, t + "register", { ...good, PHONE_NUMBER: "нет" }],
  ["register at a strange date", app, t + "register", { ...good, CALL_START_DATE: "вчера" }],
  ["finish without a user", app, t + "finish", { CALL_ID: id }],
  ["finish of an unknown call", app, t + "finish", { CALL_ID: "externalCall.x.1", USER_ID: 17 }],
  ["finish twice", app, t + "finish", { CALL_ID: id, USER_ID: 17 }],
  ["finish with a list", app, t + "finish", { CALL_ID: ["x"], USER_ID: 17 }],
  ["attach without a name", app, t + "attachRecord", { CALL_ID: id }],
  ["attach before finish", app, t + "attachRecord", { CALL_ID: "externalCall.x.1", FILENAME: "a.mp3" }],
  ["attach of a wrong kind", app, t + "attachRecord", { CALL_ID: id, FILENAME: "a.ogg", FILE_CONTENT: record }],
  ["attach of nothing", app, t + "attachRecord", { CALL_ID: id, FILENAME: "a.mp3", FILE_CONTENT: "" }],
  ["attach of no base64", app, t + "attachRecord", { CALL_ID: id, FILENAME: "a.mp3", FILE_CONTENT: "%%%" }],
  ["search without a number", app, t + "searchCrmEntities", {}],
  ["line without a number", app, "telephony.externalLine.add", {}],
  ["line that is there", app, "telephony.externalLine.add", { NUMBER: "+74951234567" }],
  ["line that is not there", app, "telephony.externalLine.update", { NUMBER: "1", NAME: "x" }],
  ["line without a change", app, "telephony.externalLine.update", { NUMBER: "+74951234567" }],
  ["transcription without messages", app, "telephony.call.attachTranscription", { CALL_ID: id }],
  ["unknown event", app, "event.bind", { event: "OnNothing", handler: "https://example.ru/" }],
  ["events through a webhook", hook, "event.get", {}],
  ["application through a webhook", hook, "app.info", {}],
  ["unknown method", hook, "telephony.nothing", {}],
  ["unknown item", hook, "crm.item.get", { entityTypeId: 3, id: 999 }],
]) out.mistakes[name] = await mistake(b24, method, params);

// The application is deleted.
await control("revoke");
out.mistakes["deleted application"] = await mistake(app, "user.current", {});

process.stdout.write(JSON.stringify(out) + "\n");
