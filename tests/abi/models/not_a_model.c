/* A shared library that is no model. */
int an_innocent_function(int x);
int an_innocent_function(int x) { return x + 1; }
