// Dates alone.
function (doc) {
  if (doc.date) {
    emit(doc.date, 1);
  }
}
