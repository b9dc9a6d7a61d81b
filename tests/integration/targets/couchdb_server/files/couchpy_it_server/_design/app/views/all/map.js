function (doc) { emit(doc.date); }
