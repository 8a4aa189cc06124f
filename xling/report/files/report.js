// Sortable tables: every column head becomes a button. Without this script the tables stay as written.
for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.key;
      const compare = (a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === ""); // missing values last
        const difference = key(a) - key(b);
        return sign * (Number.isNaN(difference) ? key(a).localeCompare(key(b)) : difference);
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}

// What is wider than the page says that it goes on, and fades where it does, until one has scrolled to its end.
const boxes = [...document.querySelectorAll(".scroll")];
const mark = (box) => {
  const rest = box.scrollWidth - box.clientWidth;
  box.classList.toggle("fits", rest <= 1);
  box.classList.toggle("more", rest > 1 && box.scrollLeft < rest - 1);
  box.classList.toggle("end", rest > 1 && box.scrollLeft >= rest - 1);
};
const markAll = () => boxes.forEach(mark);
boxes.forEach((box) => box.addEventListener("scroll", () => mark(box), { passive: true }));
document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", markAll));
for (const event of ["load", "resize"]) addEventListener(event, markAll);
