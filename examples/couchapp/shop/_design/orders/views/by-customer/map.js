function (doc) {
  if (doc.type === "order") {
    emit([doc.customer, doc.date], doc.total);
  }
}
