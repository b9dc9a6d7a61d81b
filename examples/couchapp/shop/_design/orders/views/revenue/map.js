function (doc) {
  if (doc.type === "order") {
    emit(doc.date.split("-"), doc.total);
  }
}
