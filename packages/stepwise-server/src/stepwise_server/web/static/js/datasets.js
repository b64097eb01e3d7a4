// Datasets and their versions: each version is a run of its own.

import { call } from "./api.js";
import { ago, bytes, h, number, show, state } from "./dom.js";

export async function view(main) {
  const { tasks } = await call("tasks.get_all_ex", { type: ["data_processing"], system_tags: ["__$all", "dataset", "__$not", "archived"], search_hidden: true, order_by: ["-last_update"], page_size: 500,
    only_fields: ["name", "status", "tags", "runtime", "project.name", "last_update", "user.name", "hyperparams.properties.version.value"] });
  const sets = new Map();
  for (const task of tasks) {
    const name = (task.project?.name ?? task.name).replace("/.datasets/", "/");
    sets.set(name, [...(sets.get(name) ?? []), task]);
  }
  show(main, h("div", { class: "whole" }, h("h1", {}, "Datasets"), sets.size ? [...sets].map(([name, versions]) => h("section", { class: "card", style: "margin-top: .8rem" }, h("h2", { style: "margin-top: 0" }, name),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Version", "Status", "Files", "Size", "By", "Changed"].map((title) => h("th", {}, title)))), h("tbody", {}, versions.map((task) => h("tr", {},
      h("td", {}, h("a", { href: `/projects/${task.project?.id ?? "*"}/tasks/${task.id}/artifacts` }, task.runtime?.version ?? task.hyperparams?.properties?.version?.value ?? task.id.slice(0, 8))), h("td", {}, state(task)),
      h("td", { class: "number" }, number(task.runtime?.ds_file_count)), h("td", { class: "number" }, task.runtime?.ds_total_size === undefined ? "" : bytes(task.runtime.ds_total_size)), h("td", {}, task.user?.name ?? ""), h("td", { class: "soft" }, ago(task.last_update)))))))))
    : h("p", { class: "soft" }, "No dataset. Make one with ", h("code", {}, "clearml-data create"), ".")));
}
