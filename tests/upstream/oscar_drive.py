"""A day in a shop of django-oscar, by the forms of its own pages: prints what was done as JSON, for the test to check."""

import json
import sys

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from oscar.core.loading import get_model  # noqa: E402
from webtest import TestApp  # noqa: E402

Country, Product, ProductClass, Category, Partner, Order, User = (
    *(get_model("address", "Country"),),
    *(get_model("catalogue", name) for name in ("Product", "ProductClass", "Category")),
    get_model("partner", "Partner"),
    get_model("order", "Order"),
    get_user_model(),
)


def submit(page, index, button=None, value=None, **fields):
    """Fill in a form of the page and send it: the page that it leads to."""
    form = page.forms[index]
    for name, text in fields.items():
        form[name.replace("__", "-")] = text
    answer = form.submit(button, value=value) if button else form.submit()
    assert answer.status_code == 302, (page.request.path, answer.html.find_all(class_="error-block"))
    return answer.follow()


def form_of(page, field):
    """The index of the form that has this field."""
    found = (name for name, form in page.forms.items() if isinstance(name, int) and field in form.fields)
    return next(found)


def fill(app, url, button=None, value=None, **fields):
    page = app.get(url).maybe_follow()
    return submit(page, form_of(page, next(iter(fields)).replace("__", "-")), button, value, **fields)


def log_in(app, email, password):
    fill(app, "/accounts/login/", "login_submit", login__username=email, login__password=password)


def main():
    User.objects.create_superuser("manager", "manager@example.com", "a long pass phrase")
    Country.objects.create(iso_3166_1_a2="GB", name="United Kingdom", printable_name="United Kingdom",
                           is_shipping_country=True)  # fmt: skip
    site = get_wsgi_application()
    manager, customer = TestApp(site), TestApp(site)
    log_in(manager, "manager@example.com", "a long pass phrase")

    # The catalogue: a partner, a product class, two categories, three products.
    catalogue = "/dashboard/catalogue"
    fill(manager, "/dashboard/partners/create/", name="Publisher")
    partner = Partner.objects.get()
    fill(manager, f"{catalogue}/product-type/create/", name="Book")
    for name in ("Fiction", "Poetry"):
        fill(manager, f"{catalogue}/categories/create/", name=name)
    fiction, poetry = Category.objects.order_by("pk")
    for number, title in enumerate(("Emma", "Persuasion", "Sanditon"), start=1):
        stock = {"partner": partner.pk, "partner_sku": f"B{number}", "price": "9.99", "num_in_stock": 10}
        fill(manager, f"{catalogue}/products/create/book/", "action", "save", title=title, upc=f"97800{number}",
             **{f"stockrecords__0__{name}": value for name, value in stock.items()},
             productcategory_set__0__category=fiction.pk)  # fmt: skip
    emma, persuasion, sanditon = Product.objects.order_by("pk")
    edit = f"{catalogue}/products/{emma.pk}/"
    fill(manager, edit, "action", "save", title="Emma, 2nd edition", stockrecords__0__price="12.50",
         productcategory_set__1__category=poetry.pk)  # fmt: skip
    fill(manager, f"{catalogue}/categories/{poetry.pk}/update/", name="Poems")

    # A customer registers, looks for two books, orders them.
    account = {
        "email": "ann@example.com",
        "password1": "another long phrase",
        "password2": "another long phrase",
    }
    registration = {f"registration__{name}": value for name, value in account.items()}
    fill(customer, "/accounts/login/", "registration_submit", **registration)
    for product, quantity in ((emma, 2), (persuasion, 1)):
        fill(customer, product.get_absolute_url(), quantity=quantity)
    address = {
        "first_name": "Ann",
        "last_name": "Elliot",
        "line1": "2 Low Road",
        "line4": "Bath",
        "postcode": "BA1 1AA",
    }
    fill(customer, "/checkout/shipping-address/", **address)
    submit(customer.get("/checkout/preview/"), "place_order_form")
    order = Order.objects.get()

    # The manager takes it on, ships it, notes something, and takes a book out of the catalogue.
    page = f"/dashboard/orders/{order.number}/"
    for status in ("Being processed", "Complete"):
        submit(manager.get(page), "order_status_form", new_status=status)
    submit(manager.get(page), "order_note_form", message="Sent with the morning post")
    fill(manager, f"{catalogue}/products/{emma.pk}/", "action", "save", stockrecords__0__num_in_stock=50)
    submit(manager.get(f"{catalogue}/products/{sanditon.pk}/delete/"), "delete_product_form")

    there = {"catalogue.Product": emma.pk, "order.Order": order.pk, "partner.Partner": partner.pk}
    json.dump({"there": there, "deleted": {"catalogue.Product": sanditon.pk}}, sys.stdout)


main()
