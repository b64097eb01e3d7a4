// Artifacts and models: where they are, how large, their hash; published models and their metadata.

import { call } from "../api.js";
import { bytes, h, notice, number, ownFile, show, tags } from "../dom.js";

export async function tab(place, { id, writes }) {
  const fields = ["execution.artifacts", "models.input.name", "models.output.name", "models.input.model.*", "models.output.model.*"];
  const task = (await call("tasks.get_by_id_ex", { id, only_fields: fields })).tasks[0];
  const artifacts = task.execution.artifacts ?? [];
  const models = [...task.models.output.map((each) => [each, "output"]), ...task.models.input.map((each) => [each, "input"])];
  if (!artifacts.length && !models.length) return show(place, h("p", { class: "soft" }, "No artifacts and no models."));
  show(place,
    artifacts.length && h("section", { class: "card" }, h("h2", { style: "margin-top: 0" }, "Artifacts"), h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, artifacts.map((each) => h("tr", {},
      h("td", {}, file(each.uri, each.key)), h("td", { class: "soft" }, each.type), h("td", { class: "number" }, each.content_size ? bytes(each.content_size) : ""),
      h("td", { class: "mono soft wide" }, (each.hash ?? "").slice(0, 16)), h("td", {}, each.type_data?.preview && h("details", {}, h("summary", {}, "preview"), h("pre", {}, each.type_data.preview))))))))),
    models.length && h("section", { class: "card", style: "margin-top: .8rem" }, h("h2", { style: "margin-top: 0" }, "Models"), h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, models.map(([each, side]) => model(each, side)))))));

  function model({ name, model: found }, side) {
    const facts = Object.values(found.metadata ?? {}).map((each) => `${each.key}: ${each.value}`).join("\n");
    const publish = h("button", { onclick: async () => {
      try { await call("models.set_ready", { model: found.id, publish_task: false }); await tab(place, { id, writes }); } catch (error) { notice(error.message, true); }
    } }, "Publish");
    return h("tr", {}, h("td", {}, file(found.uri, found.name ?? name), " ", tags(found)), h("td", { class: "soft" }, side), h("td", { class: "soft" }, found.framework ?? ""),
      h("td", { class: "number" }, number(found.last_iteration)), h("td", {}, facts && h("details", {}, h("summary", {}, "metadata"), h("pre", {}, facts))),
      h("td", {}, found.ready ? h("span", { class: "state published" }, "published") : writes && side === "output" && publish));
  }
}

export function file(url, name) {
  const own = url && ownFile(url);
  if (own) return h("a", { href: `${own}?download=1`, download: "" }, name);
  return /^https?:/.test(url ?? "") ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, name) : h("span", { title: url ?? "no file" }, name);
}
