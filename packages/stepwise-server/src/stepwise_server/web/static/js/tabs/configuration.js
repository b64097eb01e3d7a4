// Parameters by section, editable in a draft; configuration objects as they are.

import { call } from "../api.js";
import { h, notice, show } from "../dom.js";

export function tab(place, { id, task, writes }) {
  const editable = writes && task.status === "created";
  const sections = Object.entries(task.hyperparams).sort(([a], [b]) => a.localeCompare(b));
  const objects = Object.values(task.configuration);
  if (!sections.length && !objects.length) return show(place, h("p", { class: "soft" }, "No parameters."));
  const filter = h("input", { type: "search", placeholder: "Parameter", "aria-label": "Filter parameters", oninput: () => draw() });
  const list = h("div", {});
  const draw = () => show(list, sections.map(([name, items]) => section(name, Object.values(items).filter((each) => `${name}/${each.name}=${each.value}`.toLowerCase().includes(filter.value.toLowerCase())))));
  show(place, h("div", { class: "bar" }, filter, editable && h("span", { class: "soft" }, "This is a draft: change values, then enqueue it.")), list,
    objects.map((each) => h("details", { class: "card", open: objects.length === 1, style: "margin-top: .8rem" }, h("summary", {}, each.name), h("pre", {}, each.value))));
  draw();

  function section(name, items) {
    if (!items.length) return null;
    return h("section", { class: "card", style: "margin-bottom: .8rem" }, h("h2", { style: "margin-top: 0" }, name), h("div", { class: "scroll" }, h("table", {}, h("tbody", {},
      items.sort((a, b) => a.name.localeCompare(b.name)).map((item) => h("tr", {}, h("td", {}, item.name), h("td", { class: "mono" }, editable ? input(name, item) : item.value), h("td", { class: "soft" }, item.type ?? "")))))));
  }

  function input(name, item) {
    const field = h("input", { value: item.value, "aria-label": `${name}/${item.name}`, onchange: async () => {
      try {
        await call("tasks.edit_hyper_params", { task: id, hyperparams: [{ ...item, section: name, value: field.value }], replace_hyperparams: "none" });
        item.value = field.value;
        notice(`${name}/${item.name} = ${field.value}`);
      } catch (error) { field.value = item.value; notice(error.message, true); }
    } });
    return field;
  }
}
