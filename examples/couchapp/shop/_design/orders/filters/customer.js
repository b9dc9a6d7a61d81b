function (doc, request) {
  return doc.customer === request.query.customer;
}
