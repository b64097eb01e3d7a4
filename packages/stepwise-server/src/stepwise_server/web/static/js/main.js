// Which view an address means; the header; the theme. Views get (place, context) and return what to stop on leaving.

import { call } from "./api.js";
import { h, notice, show } from "./dom.js";
import { loginView } from "./login.js";

const VIEWS = [
  [/^\/(?:projects\/(?<project>[^/]+))?\/?$/, () => import("./runs.js"), "Runs"],
  [/^\/projects\/(?<project>[^/]+)\/(?:tasks|experiments)\/?$/, () => import("./runs.js"), "Runs"],
  [/^\/(?:projects|pipelines|datasets\/simple)\/(?<project>[^/]+)\/(?:tasks|experiments)\/(?<task>\w+)(?:\/(?<tab>.*?))?\/?$/, () => import("./run.js"), "Runs"],
  [/^\/projects\/(?<project>[^/]+)\/models\/(?<model>\w+).*$/, () => import("./models.js"), "Models"],
  [/^\/models$/, () => import("./models.js"), "Models"],
  [/^\/datasets$/, () => import("./datasets.js"), "Datasets"],
  [/^\/compare$/, () => import("./compare.js"), "Runs"],
  [/^\/queues$/, () => import("./queues.js"), "Queues"],
  [/^\/settings(?:\/.*)?$/, () => import("./settings.js"), "Settings"],
];
const LINKS = [["/", "Runs"], ["/models", "Models"], ["/datasets", "Datasets"], ["/queues", "Queues"], ["/settings", "Settings"]];

let leave = () => {};
let user = null;

export function go(address, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  return route();
}

export function setQuery(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) value ? query.set(name, value) : query.delete(name);
  const text = query.toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

async function route() {
  leave();
  leave = () => {};
  const place = document.getElementById("page");
  if (location.pathname === "/login") return loginView(place, () => { user = null; });
  try {
    if (!user && !(await call("login.supported_modes")).authenticated) return go(`/login?next=${encodeURIComponent(location.pathname + location.search)}`, true);
    user ??= (await call("users.get_current_user")).user;
    const [pattern, load, title] = VIEWS.find(([pattern]) => pattern.test(location.pathname)) ?? [];
    if (!pattern) {
      show(place, header(""), h("main", { class: "whole" }, h("div", { class: "card" }, `There is nothing at ${location.pathname}.`)));
      return;
    }
    const view = await load();
    const main = h("main", { "aria-busy": "true" });
    show(place, header(title), main);
    const writes = user.role !== "guest";
    leave = (await view.view(main, { ...pattern.exec(location.pathname).groups, user, writes })) ?? (() => {});
    main.setAttribute("aria-busy", "false");
  } catch (error) {
    if (error.code !== 401) notice(error.message, true);
  }
}

function header(title) {
  const links = LINKS.map(([address, name]) => h("a", { href: address, "aria-current": name === title ? "page" : null }, name));
  const search = h("input", { type: "search", name: "q", placeholder: "Search runs", "aria-label": "Search runs" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); go(`/?q=${encodeURIComponent(search.value)}`); } }, search);
  return h("header", { class: "top" },
    h("a", { class: "brand", href: "/" }, h("img", { src: `${document.body.dataset.assets}/icon.svg`, alt: "" }), "stepwise"),
    h("nav", { "aria-label": "Views" }, links), form,
    h("button", { onclick: switchTheme, title: "Light or dark", "aria-label": "Switch between light and dark" }, "◐"),
    h("button", { onclick: logout, title: `Logged in as ${user.name} (${user.role})` }, "Log out"));
}

async function logout() {
  await call("auth.logout").catch(() => {});
  user = null;
  go("/login");
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark ? "dark" : "light");
}

function switchTheme() {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  theme();
  route();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const address = new URL(link.href, location.href);
  if (address.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (/^\/(files|api|static)\//.test(address.pathname)) return;
  event.preventDefault();
  go(address.pathname + address.search);
});
addEventListener("popstate", route);
addEventListener("unhandledrejection", (event) => event.reason?.code !== 401 && notice(event.reason?.message ?? "An error", true));
theme();
route();
