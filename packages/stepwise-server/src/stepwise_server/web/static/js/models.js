// The registry of models.

import { call } from "./api.js";
import { ago, h, number, show, tags } from "./dom.js";
import { file } from "./tabs/artifacts.js";

export async function view(main, { model }) {
  const search = h("input", { type: "search", class: "grow", placeholder: "Name or tag", "aria-label": "Filter", oninput: () => load() });
  const ready = h("input", { type: "checkbox", onchange: () => load() });
  const table = h("div", { class: "scroll" });
  show(main, h("div", { class: "whole" }, h("h1", {}, "Models"), h("section", { class: "card", style: "margin-top: .8rem" }, h("div", { class: "bar" }, search, h("label", {}, ready, " published only")), table)));

  async function load() {
    const query = { order_by: ["-created"], page_size: 200, system_tags: ["__$not", "archived"],
      only_fields: ["name", "framework", "tags", "ready", "created", "uri", "last_iteration", "metadata", "task.name", "task.project", "project.name"] };
    if (model) query.id = [model];
    if (ready.checked) query.ready = true;
    if (search.value) query._any_ = { fields: ["name", "tags", "id"], pattern: search.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") };
    const { models } = await call("models.get_all_ex", query);
    show(table, models.length ? h("table", {}, h("thead", {}, h("tr", {}, ["Name", "", "Framework", "Iteration", "Run", "Created"].map((name) => h("th", {}, name)))), h("tbody", {}, models.map((each) => h("tr", {},
      h("td", {}, file(each.uri, each.name), " ", tags(each)), h("td", {}, each.ready && h("span", { class: "state published" }, "published")), h("td", { class: "soft" }, each.framework ?? ""),
      h("td", { class: "number" }, number(each.last_iteration)), h("td", {}, each.task?.name ? h("a", { href: `/projects/*/tasks/${each.task.id}/artifacts` }, each.task.name) : ""), h("td", { class: "soft" }, ago(each.created))))))
      : h("p", { class: "soft" }, "No model here."));
  }

  await load();
}
