"use strict";
// Filters and sorts the tables that say so. Without a script the page says the same, in the order that it was made in.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const label = document.createElement("label"), input = document.createElement("input"), said = document.createElement("span");
  label.className = "filter";
  said.setAttribute("role", "status");
  input.type = "search";
  label.append("Show rows that contain", input, said);
  table.parentNode.before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(words);
      shown += !row.hidden;
    }
    said.textContent = words ? `${shown} of ${rows.length}` : "";
  });
  heads.forEach((head, column) => {
    if (!rows.length || rows[0].cells[column].querySelector("img")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row) => {
        const text = row.cells[column].firstChild?.textContent ?? "", number = Number.parseFloat(text.replaceAll(",", ""));
        return [row, column && !Number.isNaN(number) ? number : text];
      });
      keyed.sort(([, a], [, b]) => {
        const order = typeof a === "number" && typeof b === "number" ? a - b : typeof a === typeof b ? String(a).localeCompare(String(b)) : typeof a === "number" ? 1 : -1;
        return down ? -order : order;
      });
      body.append(...keyed.map(([row]) => row));
    });
  });
}
// What is folded is printed too.
addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
