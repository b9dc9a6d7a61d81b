function (doc) {
  if (doc.it_refused) {
    throw({forbidden: 'refused for a test'});
  }
}
