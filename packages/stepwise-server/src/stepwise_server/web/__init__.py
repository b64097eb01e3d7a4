"""The page: static files and one template; everything that it shows it asks the API for, as any client does.

routes.py         serves them, with the headers that keep the page to itself
templates/        the one document
static/js/        ES modules: main.js routes, one module for each view, tabs/ for those of a run
"""
