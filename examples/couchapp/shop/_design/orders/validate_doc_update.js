function (doc, old, user) {
  if (doc.type === "order" && typeof doc.total !== "number") {
    throw({forbidden: "an order must have a total"});
  }
}
