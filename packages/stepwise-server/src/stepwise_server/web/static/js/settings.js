// Access keys, and what clients have to be told.

import { call } from "./api.js";
import { ago, h, notice, show } from "./dom.js";

export async function view(main, { user, writes }) {
  const keys = h("div", { class: "scroll" });
  const fresh = h("div", {});
  const label = h("input", { placeholder: "What it is for", "aria-label": "Label of the new key" });
  const create = h("button", { class: "main", onclick: async () => {
    const { credentials } = await call("auth.create_credentials", { label: label.value });
    label.value = "";
    show(fresh, h("div", { class: "card", style: "margin: .8rem 0" }, h("b", {}, "This secret is shown once. "), "For ", h("code", {}, "clearml.conf"), ":", h("pre", {}, config(credentials))));
    await draw();
  } }, "Create key");
  const { version, api_version: api } = await call("server.info");
  show(main, h("div", { class: "whole" }, h("h1", {}, "Settings"),
    h("section", { class: "card", style: "margin-top: .8rem" }, h("h2", { style: "margin-top: 0" }, "Access keys"), keys, fresh, writes && h("div", { class: "bar", style: "margin-top: .7rem" }, label, create)),
    h("section", { class: "card", style: "margin-top: .8rem" }, h("h2", { style: "margin-top: 0" }, "You and this server"), h("dl", { class: "facts" },
      [["user", user.name], ["role", user.role], ["API", `${location.origin}/api`], ["files", `${location.origin}/files`], ["stepwise-server", document.body.dataset.release], ["answers as ClearML", `${version}, API ${api}`]].map(([name, value]) => [h("dt", {}, name), h("dd", { class: "mono" }, value)])))));

  async function draw() {
    const { credentials } = await call("auth.get_credentials");
    show(keys, h("table", {}, h("thead", {}, h("tr", {}, ["Key", "Label", "Last used", "From", ""].map((name) => h("th", {}, name)))), h("tbody", {}, credentials.map((each) => h("tr", {},
      h("td", { class: "mono" }, each.access_key), h("td", {}, each.label ?? ""), h("td", {}, ago(each.last_used) || "never"), h("td", {}, each.last_used_from ?? ""),
      h("td", {}, writes && h("button", { class: "bad", onclick: () => revoke(each) }, "Revoke")))))));
  }

  async function revoke(each) {
    if (!confirm(`Revoke ${each.label || each.access_key}? Programs that use it are locked out at once.`)) return;
    try {
      await call("auth.revoke_credentials", { access_key: each.access_key });
      await draw();
    } catch (error) { notice(error.message, true); }
  }

  await draw();
}

function config({ access_key: key, secret_key: secret }) {
  return `api {
    web_server: "${location.origin}"
    api_server: "${location.origin}/api"
    files_server: "${location.origin}/files"
    credentials {
        "access_key" = "${key}"
        "secret_key" = "${secret}"
    }
}`;
}
