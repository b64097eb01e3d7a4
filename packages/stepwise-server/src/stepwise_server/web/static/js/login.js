// Name and password; the cookie that the server answers with is invisible to scripts.

import { login } from "./api.js";
import { h, show } from "./dom.js";
import { go } from "./main.js";

export function loginView(place, changed) {
  const user = h("input", { name: "user", autocomplete: "username", required: true, value: "admin" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const error = h("div", { role: "alert", style: "color: var(--bad)" });
  const submit = async (event) => {
    event.preventDefault();
    error.textContent = "";
    try {
      await login(user.value, password.value);
      changed();
      const next = new URLSearchParams(location.search).get("next") ?? "/";
      await go(next.startsWith("/") && !next.startsWith("//") ? next : "/", true);
    } catch (problem) {
      error.textContent = problem.code === 401 ? "User and password do not fit." : problem.message;
    }
  };
  show(place, h("main", {}, h("form", { class: "card login", onsubmit: submit },
    h("h1", {}, "stepwise"),
    h("label", {}, "User ", h("br"), user),
    h("label", {}, "Password ", h("br"), password),
    error,
    h("button", { class: "main", type: "submit" }, "Log in"),
    h("div", { class: "soft" }, "The first password was made with the data folder and is in its file client.json; ",
      h("code", {}, "stepwise server status"), " tells where that is."))));
  password.focus();
}
