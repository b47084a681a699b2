from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=200)
    question = models.TextField()
    job_id = models.UUIDField(null=True)
